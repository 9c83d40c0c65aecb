"""The commands that follow lineage: `evo trace` down to the sources, `evo impact` up from them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from flows.console import Json, console
from flows.settings import state

if TYPE_CHECKING:
    from warehouse.catalog import Warehouse
    from warehouse.tree import TraceNode

Mermaid = Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart, sources at the left.")]

AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="NAME@N", help="What was known when that dataset version was published."),
]


def trace(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A model, score, run, shard set, dataset, episode, question, context, document, teacher call, "
            "teacher model or stage fingerprint.",
        ),
    ],
    as_json: Json = False,
    mermaid: Mermaid = False,
    as_of: AsOf = None,
    limit: Annotated[
        int, typer.Option(min=0, help="Samples shown per list; totals are always given. 0 lists everything.")
    ] = 3,
) -> None:
    """Walk from a model, or anything else that has an id, down to the documents and calls that it came from."""
    from warehouse.lineage import trace as walk

    with _opened(as_of) as warehouse:
        _show(walk(warehouse, identity, limit=limit), as_json, mermaid)


def impact(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A document, context, question, episode, teacher call or model, stage fingerprint, or NAME@N.",
        ),
    ],
    as_json: Json = False,
    mermaid: Mermaid = False,
    as_of: AsOf = None,
) -> None:
    """Walk up from a source to every dataset version, model and score that used it."""
    from warehouse.impact import impact as walk

    with _opened(as_of) as warehouse:
        _show(walk(warehouse, identity), as_json, mermaid, upward=True)


def _opened(label: str | None) -> AbstractContextManager[Warehouse]:
    """The warehouse as it is, or as of a version."""
    from warehouse.catalog import Warehouse
    from warehouse.versions import as_of

    return Warehouse.open(state()) if label is None else as_of(state(), label)


def _show(node: TraceNode, as_json: bool, mermaid: bool, upward: bool = False) -> None:
    """Prints text and JSON while it walks: a tree of everything may be larger than memory."""
    from warehouse.tree import json_parts, render_mermaid, tree_lines

    if as_json and mermaid:
        raise typer.BadParameter("--json and --mermaid are two forms of the same answer; give one")
    if as_json:
        for part in json_parts(node):
            print(part, end="")
        print()
    elif mermaid:
        print(render_mermaid(node, upward))
    else:
        for line in tree_lines(node):
            console.print(line, markup=False, highlight=False, soft_wrap=True)

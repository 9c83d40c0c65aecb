"""The commands that follow lineage: `evo trace` down to the sources, `evo impact` up from them."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.console import Json, say
from flows.settings import state


def trace(
    identity: Annotated[
        str, typer.Argument(metavar="ID", help="A model, run, shard set, dataset, episode, context or document.")
    ],
    as_json: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="Samples shown per list; totals are always given.")] = 3,
) -> None:
    """Walk from a model down to the documents that it came from."""
    from warehouse.catalog import Warehouse
    from warehouse.lineage import as_dict, render_tree
    from warehouse.lineage import trace as walk

    with Warehouse.open(state()) as warehouse:
        tree = walk(warehouse, identity, limit=limit)
    say(as_dict(tree), as_json, render_tree(tree))


def impact(
    identity: Annotated[
        str,
        typer.Argument(metavar="ID", help="A document, context, question, episode, teacher call or model, or NAME@N."),
    ],
    as_json: Json = False,
) -> None:
    """Walk up from a source to every dataset version, model and score that used it."""
    from warehouse.catalog import Warehouse
    from warehouse.impact import impact as walk
    from warehouse.lineage import as_dict, render_tree

    with Warehouse.open(state()) as warehouse:
        tree = walk(warehouse, identity)
    say(as_dict(tree), as_json, render_tree(tree))

"""The commands that follow lineage: `evo trace` down to the sources, `evo impact` up from them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from evoembedding.flows.settings import state
from evoembedding.flows.terminal import completion
from evoembedding.flows.terminal.console import Json, say, say_text

if TYPE_CHECKING:
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.lineage.tree import TraceNode
    from evoembedding.warehouse.lineage.withdrawal import Withdrawn

Mermaid = Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart, sources at the left.")]

AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="NAME@N",
        autocompletion=completion.datasets,
        help="What was known when that dataset version was published.",
    ),
]


def trace(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            autocompletion=completion.ids,
            help="By id, or the beginning of one: a model, score, run, shard set, dataset, episode, question, context, "
            "document, teacher call, teacher model or stage fingerprint; or NAME@N, also of a model.",
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
    from evoembedding.warehouse.lineage.trace import trace as walk
    from evoembedding.warehouse.registry.labels import identity_of

    with _opened(as_of) as warehouse:
        _show(walk(warehouse, identity_of(warehouse, identity), limit=limit), as_json, mermaid)


def impact(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            autocompletion=completion.ids,
            help="By id, or the beginning of one: a document, context, question, episode, teacher call or model, stage "
            "fingerprint, or NAME@N, also of a model.",
        ),
    ],
    as_json: Json = False,
    mermaid: Mermaid = False,
    as_of: AsOf = None,
    withdraw: Annotated[
        bool,
        typer.Option("--withdraw", help="Record that it may be used no longer; publish versions that do without it."),
    ] = False,
    reason: Annotated[str, typer.Option(help="With --withdraw: why, for the record.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --withdraw: show what would follow; store nothing.")
    ] = False,
) -> None:
    """Walk up from a source to every dataset version, model and score that used it; or withdraw it."""
    from evoembedding.warehouse.lineage.impact import impact as walk
    from evoembedding.warehouse.registry.labels import identity_of

    if not withdraw and (reason or dry_run):
        raise typer.BadParameter("--reason and --dry-run go with --withdraw")
    if withdraw and (as_of or mermaid):
        raise typer.BadParameter("--withdraw changes what is, and tells it as text or --json; leave out the rest")
    if withdraw:
        _withdraw(identity, reason, dry_run, as_json)
        return
    with _opened(as_of) as warehouse:
        _show(walk(warehouse, identity_of(warehouse, identity)), as_json, mermaid, upward=True)


def _withdraw(identity: str, reason: str, dry_run: bool, as_json: bool) -> None:
    from evoembedding.flows.announce import announce
    from evoembedding.flows.lineage_events import lineage_run, reads, writes
    from evoembedding.flows.settings import git_commit, user
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.datasets.versions import resolve
    from evoembedding.warehouse.lineage.tree import as_dict, render_tree
    from evoembedding.warehouse.lineage.withdrawal import withdraw
    from evoembedding.warehouse.openlineage import assets
    from evoembedding.warehouse.registry.labels import identity_of, labels_of

    with (
        # A dry run is no run: nobody is told of it.
        nullcontext() if dry_run else lineage_run(state(), "withdraw", identity, "Withdraw a source.", __file__),
        Warehouse.open(state()) as warehouse,
    ):
        done = withdraw(warehouse, identity_of(warehouse, identity), reason, user(), git_commit(), dry_run)
        for one in () if dry_run else done.successors:
            reads(assets.dataset(resolve(warehouse, one.before, retired=True)))
            writes(assets.dataset(resolve(warehouse, one.after, retired=True)))
        named = {model: labels_of(warehouse, model) for model in done.retrain}
    # Behind the transaction: what others hear of is stored.
    if done.new and not dry_run:
        told = {"kind": done.withdrawal.kind, "reason": reason, "successors": [one.after for one in done.successors]}
        models = [("model", model) for model in done.retrain]
        announce(state(), "source.withdrawn", ("source", done.withdrawal.source), *models, payload=told)
    result = {
        "withdrawal": done.withdrawal.model_dump(),
        "new": done.new,
        "dry_run": dry_run,
        "successors": [one.model_dump() for one in done.successors],
        "retrain": [{"model_id": model, "on": label, "named": named[model]} for model, label in done.retrain.items()],
        "tree": as_dict(done.tree),
    }
    say(result, as_json, f"{_sentence(done, dry_run, named)}\n{render_tree(done.tree)}")


def _sentence(done: Withdrawn, dry_run: bool, named: dict[str, list[str]]) -> str:
    one = done.withdrawal
    if not done.new:
        start = f"{one.kind} {one.source} was withdrawn already, on {one.created_at:%Y-%m-%d} by {one.withdrawn_by}"
        start += f" ({one.reason})" if one.reason else ""
    else:
        start = f"{one.kind} {one.source} " + ("would be withdrawn; nothing was stored" if dry_run else "is withdrawn")
    if not done.successors:
        return f"{start}; no dataset version holds anything made from it"
    follows = ", ".join(f"{s.after} follows {s.before} without {s.episodes_withdrawn}" for s in done.successors)
    retrain = ", ".join(f"{one} ({', '.join(named[one])})" if named[one] else one for one in done.retrain)
    return f"{start}; {follows} of its episodes; models to retrain: {retrain or 'none'}"


def _opened(label: str | None) -> AbstractContextManager[Warehouse]:
    """The warehouse as it is, or as of a version."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.datasets.versions import as_of

    return Warehouse.open(state()) if label is None else as_of(state(), label)


def _show(node: TraceNode, as_json: bool, mermaid: bool, upward: bool = False) -> None:
    """Prints text and JSON while it walks: a tree of everything may be larger than memory."""
    from evoembedding.warehouse.lineage.tree import json_parts, render_mermaid, tree_lines

    if as_json and mermaid:
        raise typer.BadParameter("--json and --mermaid are two forms of the same answer; give one")
    if as_json:
        for part in json_parts(node):
            print(part, end="")
        print()
    elif mermaid:
        say_text(render_mermaid(node, upward))
    else:
        for line in tree_lines(node):
            say_text(line)

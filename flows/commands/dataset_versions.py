"""The commands `evo dataset diff`, `tag` and `expire`."""

from __future__ import annotations

from typing import Annotated

import typer

from evoembedding.flows.commands.options import Dataset
from evoembedding.flows.settings import state
from evoembedding.flows.terminal import completion
from evoembedding.flows.terminal.console import Json, say, say_json, say_table
from evoembedding.schemas.errors import EvoError


def diff(
    old: Dataset,
    new: Dataset,
    as_json: Json = False,
) -> None:
    """Show which episodes came, went or changed from one version to another, and why."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.datasets.diff import diff as compare
    from evoembedding.warehouse.datasets.versions import resolve

    with Warehouse.open(state()) as warehouse:
        # None that was retired: its episodes are gone, so that there is nothing to compare.
        found = compare(warehouse, resolve(warehouse, old), resolve(warehouse, new))
    summary = f"{found.old} -> {found.new}: {found.came} came, {found.went} went, {found.changed} changed, "
    summary += f"{found.same} are in both"
    if as_json or not found.changes:
        say(found.model_dump(), as_json, summary)
        return
    rows = [(c.change, c.generator, c.why, c.episodes, c.such_as[0]) for c in found.changes]
    say_table(("change", "generator", "why", "episodes", "such as"), rows, summary, keys=2)


def tag(
    dataset: Annotated[str | None, typer.Argument(help="NAME@N to tag; or NAME, to list or remove its tags.")] = None,
    name: Annotated[str | None, typer.Argument(metavar="[TAG]", help="The tag; without it, tags are listed.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Let the tag point nowhere.")] = False,
    history: Annotated[bool, typer.Option("--history", help="List every move, not only where tags are now.")] = False,
    as_json: Json = False,
) -> None:
    """Point a tag to a version, so that NAME@TAG means it; tags can be moved, and every move is kept."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.datasets.tags import remove_tag, set_tag, tag_history

    with Warehouse.open(state()) as warehouse:
        if name is None:
            if remove:
                raise EvoError("no tag was given; nothing was changed; say 'evo dataset tag NAME TAG --remove'")
            rows = tag_history(warehouse, dataset.partition("@")[0] if dataset else None)
        else:
            of = str(dataset)
            moved = remove_tag(warehouse, of.partition("@")[0], name) if remove else set_tag(warehouse, of, name)
            rows = tag_history(warehouse, moved.name)
            # This move alone: the history of the name has all the others.
            rows = rows.filter((rows["tag"] == name) & (rows["sequence"] == moved.sequence))
    shown = rows if history or name is not None else rows.filter(rows["current"] & (rows["dataset"] != ""))
    lines = [
        f"{row['name']}@{row['tag']}  {row['dataset'] or 'removed'}  {row['created_at'].isoformat()}"
        for row in shown.iter_rows(named=True)
    ]
    say(shown.to_dicts(), as_json, "\n".join(lines) or "no tag yet")


def expire(
    datasets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME@N]...", help="Versions to retire: their episodes go.", autocompletion=completion.datasets
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this, only what would go is shown.")] = False,
    force: Annotated[bool, typer.Option(help="Retire versions that models were trained on or tags point to.")] = False,
    forget_past: Annotated[
        bool, typer.Option("--forget-past", help="Also give up the warehouse's past states, which hold bytes back.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove the data that no dataset version needs; by default only say what would go.

    What was made since the newest version was published stays: it waits for a publish.
    """
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.upkeep.retention import expire as remove

    with Warehouse.open(state()) as warehouse:
        done = remove(warehouse, datasets or [], force, forget_past, dry=not yes)
    if as_json:
        say_json({**done.model_dump(), "removed": yes})
        return
    # A dry run estimates bytes: only files that are written anew show what they come to.
    verb, size = ("went", "{:.1f} MB") if yes else ("would go", "about {:.1f} MB")
    going = [(name, count) for name, count in done.rows.items() if count]
    files, freed = done.reclaimed.files, size.format(done.reclaimed.bytes / 1e6)
    lines = [f"{'retired' if yes else 'to be retired'}: {', '.join(done.retired)}"] if done.retired else []
    lines.append(f"{files} files, {freed}, {done.reclaimed.snapshots} past states, {len(done.shard_sets)} shard sets")
    if done.reclaimed.held:
        held = f"{done.reclaimed.held / 1e6:.1f} MB"
        lines.append(f"{held} more are held by past states of versions that stay; --forget-past frees them")
    if going:
        say_table(("what", "rows"), going, f"Expire: what {verb}")
    say(None, False, "\n".join(lines) + ("" if yes else "\nnothing was removed: a dry run; --yes removes it"))

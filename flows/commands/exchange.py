"""The commands `evo dataset export` and `import`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from evoembedding.flows.commands.options import Dataset
from evoembedding.flows.settings import git_commit, state
from evoembedding.flows.terminal.console import Json, say, warn

LINE_EVERY_S = 10.0


def export(
    dataset: Dataset,
    folder: Annotated[Path, typer.Argument(help="Where to; it is made, and appears when it is complete.")],
    form: Annotated[Literal["parquet", "jsonl"], typer.Option("--format", help="Of the data files.")] = "parquet",
    rows_per_file: Annotated[int, typer.Option(min=1, help="Episodes a data file.")] = 20_000,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    as_json: Json = False,
) -> None:
    """Write a version as a folder with a dataset card that datasets.load_dataset opens, in EvoTrain's record form."""
    from evoembedding.flows.lineage_events import lineage_run
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.datasets.draft_versions import refuse_draft
    from evoembedding.warehouse.datasets.versions import resolve
    from evoembedding.warehouse.exchange.export import export_version
    from evoembedding.warehouse.openlineage import assets

    with (
        # Outermost: a version that is refused is told as a run that failed.
        lineage_run(state(), "export", dataset, "Export a dataset version.", __file__) as run,
        Warehouse.open(state()) as warehouse,
        _counting("export") as progress,
    ):
        version = resolve(warehouse, dataset)
        refuse_draft(warehouse, version, "nothing was written, since others would train on it unwarned")
        made = export_version(warehouse, version, folder, form, rows_per_file, force, progress)
        run.reads([assets.dataset(version)])
        run.writes([assets.source(str(folder))])
    size = sum(file.bytes for file in made.files) / 1e6
    summary = f"{version.label}: {version.episodes} episodes in {len(made.episodes)} files, {size:.1f} MB, in {folder}"
    say({**made.model_dump(), "folder": str(folder)}, as_json, summary)


def import_(
    source: Annotated[
        str,
        typer.Argument(help="An exported folder, a .jsonl or .parquet file, a folder of them, or a hub id."),
    ],
    name: Annotated[str, typer.Argument(help="The dataset's name; the version number is given.")],
    licence: Annotated[str, typer.Option("--license", help="Of the rows, where the source does not tell.")] = "",
    as_json: Json = False,
) -> None:
    """Bring episodes of EvoTrain's record form in as a dataset version with a lineage root of its own.

    Every row that is malformed is reported and kept in `failures`. The same bytes give the same version again.
    """
    from evoembedding.flows.lineage_events import lineage_run
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.exchange.import_dataset import import_dataset
    from evoembedding.warehouse.openlineage import assets

    with (
        lineage_run(state(), "import", name, "Import a dataset.", __file__) as run,
        Warehouse.open(state()) as warehouse,
        _counting("import") as progress,
    ):
        # Before it is read: also an import that fails says of what.
        run.reads([assets.source(source)])
        done = import_dataset(warehouse, name, source, git_commit(), licence, lambda rows: progress(rows, 0))
        run.writes([assets.dataset(done.version)])
    for reason in done.reasons:
        warn(reason)
    if done.rejected > len(done.reasons):
        warn(f"and {done.rejected - len(done.reasons)} more, see the table 'failures'")
    if done.ignored:
        warn(f"not kept: {', '.join(f'{key} ({n} rows)' for key, n in sorted(done.ignored.items()))}")
    summary = (
        f"{done.version.label}: {done.version.episodes} episodes, digest {done.version.digest}\n"
        f"{done.rows} rows read from {source}: {done.new} new, {done.there} there already, {done.rejected} rejected"
    )
    say(done.model_dump(), as_json, summary)


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows episodes done of a total, 0 where it is not known: a bar in a terminal, else a line now and then."""
    console, reported = Console(stderr=True), time.monotonic()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int) -> None:
            nonlocal reported
            bar.update(task, completed=done, total=total or None, description=f"{what}: {done} episodes")
            if not console.is_terminal and time.monotonic() - reported >= LINE_EVERY_S:
                reported = time.monotonic()
                warn(f"{what}: {done}{f' of {total}' if total else ''} episodes")

        yield report

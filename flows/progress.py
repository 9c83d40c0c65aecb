"""What a run says while it works: to the terminal, and to the run's log in Prefect."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import MissingContextError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from evoembedding.flows.teaching.counts import Progress, Report
from evoembedding.flows.terminal.console import warn
from evoembedding.schemas.secrets import scrubbed

LINE_EVERY_S = 10.0


def tell(line: str) -> None:
    """One line of progress, without secrets. Standard error, so that `--json` stays clean."""
    line = scrubbed(line)
    warn(line)
    with suppress(MissingContextError):  # outside a run the terminal is all there is
        get_run_logger().info(line)


@contextmanager
def following() -> Iterator[Report]:
    """Shows a teaching run's counts: live in a terminal, else a line now and then; and as a progress artifact."""
    artifact = cast(UUID, create_progress_artifact(progress=0.0, key="teaching", description="Items done"))
    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=2, transient=True) as live:
        # So that the first report is told at once.
        reported = -LINE_EVERY_S

        def report(progress: Progress) -> None:
            nonlocal reported
            if console.is_terminal:
                live.update(_table(progress))
            if time.monotonic() - reported >= LINE_EVERY_S or progress.done == progress.total:
                reported = time.monotonic()
                tell(progress.line())
                # No oftener than the line: each is a request to Prefect's server.
                update_progress_artifact(artifact, progress=100 * progress.done / max(1, progress.total))

        yield report


def _table(progress: Progress) -> Table:
    table = Table("", "", title="Teaching", show_header=False)
    rejected = "\n".join(f"{check} {count}" for check, count in progress.rejected.most_common())
    rows = {
        "items": f"{progress.done} of {progress.total}",
        "accepted": f"{progress.accepted}",
        "rejected by": rejected or "0",
        "failed": f"{progress.failed}",
        "calls": f"{progress.spent.calls}, {progress.in_flight} in flight",
        "tokens/s": f"{progress.tokens_a_second:.0f}",
        "cost": f"{progress.spent.cost:.2f}",
        "left": f"{progress.seconds_left:.0f} s",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table

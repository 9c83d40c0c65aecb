"""The command `evo run list`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from evoembedding.flows.settings import state
from evoembedding.flows.terminal.console import Json, say, say_json, say_table

if TYPE_CHECKING:
    from evoembedding.warehouse.openlineage.event_log import RunTold

# A run that was killed has told no end: it looks as one at work does.
STATES = {"START": "begun", "COMPLETE": "done", "FAIL": "failed", "ABORT": "stopped"}
MOST = 30

run_app = typer.Typer(help="Runs of flows and commands.", no_args_is_help=True, rich_markup_mode=None)


@run_app.callback()
def run() -> None:
    """Runs of flows and commands."""


@run_app.command("list", epilog="Example: evo run list   evo run list --job train --failed   evo run list --json")
def run_list(
    job: Annotated[str, typer.Option(metavar="NAME", help="Of this job alone: ingest, synthesize, train, ...")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Those that failed or were stopped alone.")] = False,
    parts: Annotated[bool, typer.Option("--parts", help="Also the runs that a run consists of.")] = False,
    most: Annotated[int, typer.Option(min=1, help="How many at most, the newest.")] = MOST,
    as_json: Json = False,
) -> None:
    """List what was run in this home, how it ended and why it failed; evo rerun runs one again."""
    from evoembedding.warehouse.openlineage.event_log import runs

    found = [
        one
        for one in runs(state())
        if (parts or not one.parent)
        and (not job or job in (one.job, one.job.partition(".")[0]))
        and (not failed or one.state in ("FAIL", "ABORT"))
    ][-most:]
    if as_json:
        say_json([{**one.model_dump(), "state": STATES.get(one.state, one.state)} for one in found])
    elif found:
        say_table(("run", "job", "state", "started", "seconds", "why"), [_row(one) for one in found], "Runs")
    else:
        say(None, False, "no such run is known")


def _row(one: RunTold) -> tuple[str, ...]:
    began, last = (datetime.fromisoformat(text) for text in (one.started, one.told))
    seconds = "" if one.state == "START" else f"{(last - began).total_seconds():.1f}"
    return one.run_id, one.job, STATES.get(one.state, one.state), f"{began:%Y-%m-%d %H:%M}", seconds, one.error

"""The `evo lineage` commands: the OpenLineage events that runs left behind."""

from __future__ import annotations

import typer

from evoembedding.flows.settings import state
from evoembedding.flows.terminal.console import Json, say, say_table

lineage_app = typer.Typer(
    help="OpenLineage events: see docs/openlineage.md.", no_args_is_help=True, rich_markup_mode=None
)


@lineage_app.command("events", epilog="Example: evo lineage events --json")
def lineage_events(as_json: Json = False) -> None:
    """List runs as their events tell them: how they ended, what they read and what they wrote."""
    from evoembedding.warehouse.openlineage.event_log import runs

    found = runs(state())
    if as_json or not found:
        say([run.model_dump() for run in found], as_json, "no run has told OpenLineage anything yet")
        return
    rows = []
    for run in found:
        names = ("\n".join(name.rpartition("/")[2] for name in assets) for assets in (run.inputs, run.outputs))
        rows.append((run.started[:19], run.job, run.state, *names))
    say_table(("started", "job", "state", "reads", "writes"), rows, "OpenLineage runs", keys=2)


@lineage_app.command("send", epilog="Example: OPENLINEAGE_URL=http://127.0.0.1:5000 evo lineage send")
def lineage_send(as_json: Json = False) -> None:
    """Send every kept event to the OpenLineage endpoint: for one that is new, or was not there when runs ended."""
    from evoembedding.warehouse.openlineage.event_log import resend

    sent = resend(state())
    say({"sent": sent}, as_json, f"{sent} events sent")

"""The `evo lineage` commands: the OpenLineage events that runs left behind."""

from __future__ import annotations

import typer

from flows.console import Json, console, say
from flows.settings import state

lineage_app = typer.Typer(
    help="OpenLineage events: see docs/openlineage.md.", no_args_is_help=True, rich_markup_mode=None
)


@lineage_app.command("events", epilog="Example: evo lineage events --json")
def lineage_events(as_json: Json = False) -> None:
    """List runs as their events tell them: how they ended, what they read and what they wrote."""
    from rich.markup import escape
    from rich.table import Table

    from warehouse.event_log import runs

    told = runs(state())
    if as_json or not told:
        say([run.model_dump() for run in told], as_json, "no run has told OpenLineage anything yet")
        return
    table = Table("started", "job", "state", "reads", "writes", title="OpenLineage runs")
    for run in told:
        names = ("\n".join(name.rpartition("/")[2] for name in assets) for assets in (run.inputs, run.outputs))
        table.add_row(run.started[:19], *map(escape, (run.job, run.state, *names)))
    console.print(table)


@lineage_app.command("send", epilog="Example: OPENLINEAGE_URL=http://127.0.0.1:5000 evo lineage send")
def lineage_send(as_json: Json = False) -> None:
    """Send every kept event to the OpenLineage endpoint: for one that is new, or was not there when runs ended."""
    from warehouse.event_log import resend

    sent = resend(state())
    say({"sent": sent}, as_json, f"{sent} events sent")

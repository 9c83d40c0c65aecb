"""The command `evo report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evoembedding.flows.settings import state
from evoembedding.flows.terminal import completion
from evoembedding.flows.terminal.console import Json, say


def report(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="NAME@N|MODEL",
            help="A dataset version; or a model, by NAME@N, NAME@ALIAS, id or the beginning of one.",
            autocompletion=completion.ids,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="The file to write; $EVO_HOME/reports/NAME.html by default.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one HTML file that shows it: lineage, funnel, lengths, samples, curves, scores. It loads nothing."""
    from evoembedding.flows.report.page import write_report
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.labels import identity_of

    with Warehouse.open(state()) as warehouse:
        path = write_report(warehouse, state(), identity_of(warehouse, identity), output)
    say({"report": str(path), "bytes": path.stat().st_size}, as_json, f"report: {path}")

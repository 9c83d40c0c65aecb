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
        str | None,
        typer.Argument(
            metavar="[NAME@N|MODEL]",
            help="A dataset version; or a model, by NAME@N, NAME@ALIAS, id or the beginning of one. Without it: the "
            "index of all.",
            autocompletion=completion.ids,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The file to write; by default NAME.html or index.html in $EVO_HOME/reports.", dir_okay=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one HTML file that shows it: lineage, funnel, lengths, samples, curves, scores. It loads nothing.

    Without an argument it is the index: all dataset versions, models, gates and decisions, with links to the pages of
    those that have one.
    """
    from evoembedding.flows.report.index import write_index
    from evoembedding.flows.report.page import write_report
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.labels import identity_of

    with Warehouse.open(state()) as warehouse:
        if identity is None:
            path = write_index(warehouse, state(), output)
        else:
            path = write_report(warehouse, state(), identity_of(warehouse, identity), output)
    say({"report": str(path), "bytes": path.stat().st_size}, as_json, f"report: {path}")

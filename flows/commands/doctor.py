"""The command `evo doctor`."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from evoembedding.flows.settings import state
from evoembedding.flows.terminal.console import Json, say, say_json, say_table

WEIGHTS = "model.safetensors"


def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Also compute every row's content id again.")] = False,
    remove_orphans: Annotated[
        bool, typer.Option("--remove-orphans", help="Remove what killed commands have left behind.")
    ] = False,
    older_than: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="Younger orphans may be of commands that run: they stay.")
    ] = 24.0,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Of a copied or moved home with its data on a server: own them from now on."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check that everything the warehouse knows of is there and is what it was; exit code 1 if something is damaged."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.upkeep.doctor import Finding, examine

    if take_over:
        with Warehouse.open(state()) as warehouse:
            warehouse.take_over()
    findings = list(examine(state(), WEIGHTS, deep, remove_orphans, older_than))
    if (runs := state() / "runs").exists():
        from evoembedding.trainer.training.checkpoints import damaged  # with torch, which takes seconds

        for name, says in damaged(runs):
            findings.append(Finding(kind="damaged", what="checkpoint", name=name, says=says))
    counts = Counter(finding.kind for finding in findings)
    if as_json:
        say_json([finding.model_dump() for finding in findings])
    else:
        if findings:
            rows = [(finding.kind, f"{finding.what} {finding.name}", finding.says) for finding in findings]
            say_table(("", "what", "finding"), rows)
        summary = f"{counts['damaged']} damaged, {counts['orphan']} orphans, {counts['removed']} orphans removed"
        say(None, False, summary if findings else "all is well")
    if counts["damaged"]:
        raise typer.Exit(1)

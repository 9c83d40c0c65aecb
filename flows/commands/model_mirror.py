"""The command `evo model mirror`."""

from __future__ import annotations

import typer

from evoembedding.flows.settings import state
from evoembedding.flows.terminal.console import Json, fail, say


def mirror(as_json: Json = False) -> None:
    """Send an MLflow server the models, scores, versions and aliases that it lacks; what makes any does so too."""
    from evoembedding.flows.mlflow_mirror import bring_up

    done = bring_up(state())
    told = f"{done.runs} runs, {done.versions} versions and {done.aliases} aliases were new to MLflow"
    say(done._asdict(), as_json, told)
    if done.told:
        fail(done.told)
        raise typer.Exit(1)

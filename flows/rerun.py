"""Run a flow's run again with the parameters that Prefect recorded of it; a recipe among them is that of then."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from evoembedding.flows.build_dataset import build_dataset
from evoembedding.flows.evaluate import evaluate
from evoembedding.flows.ingest import ingest
from evoembedding.flows.pipeline import pipeline
from evoembedding.flows.retrain import retrain
from evoembedding.flows.synthesize import retry, synthesize
from evoembedding.flows.train import train
from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.openlineage.event_log import runs

FLOWS: dict[str, Flow[..., Any]] = {
    flow.name: flow for flow in (ingest, synthesize, retry, build_dataset, train, evaluate, pipeline, retrain)
}


class Recorded(NamedTuple):
    """A flow and the parameters that it was given."""

    flow: str
    parameters: dict[str, Any]


def recorded(home: Path, run_id: UUID) -> Recorded:
    """What Prefect recorded of a flow's run.

    Raises:
        EvoError: it knows no such run, or the run was of another home or of older code.
    """
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(run_id)
            name = client.read_flow(run.flow_id).name
        except ObjectNotFound:
            raise EvoError(_unknown(home, str(run_id))) from None
    if name not in FLOWS:
        raise EvoError(f"run {run_id} is of flow '{name}', which is none of ours; nothing was run")
    parameters = dict(run.parameters)
    if strange := parameters.keys() - inspect.signature(FLOWS[name].fn).parameters.keys():
        raise EvoError(
            f"run {run_id} was given '{min(strange)}', which flow '{name}' takes no longer; nothing was run; give the "
            "command anew"
        )
    # Taken out: it is run in this home, by whatever path that was reached then.
    then = Path(str(parameters.pop("home", home)))
    # `$EVO_HOME`, the default, does not say where it was; one that is no longer there was moved to where we are.
    if "$" not in str(then) and then.is_dir() and not then.samefile(home):
        raise EvoError(
            f"run {run_id} was made in home '{then}', and not in '{home}'; nothing was run; set EVO_HOME to that one"
        )
    return Recorded(name, parameters)


def again(home: Path, run: Recorded) -> dict[str, Any]:
    """Run it, in this home; what it returns."""
    found: dict[str, Any] = FLOWS[run.flow](**run.parameters, home=home)
    return found


def _unknown(home: Path, run_id: str) -> str:
    """Why a run cannot be rerun: what OpenLineage was told of it says more than that Prefect does not know it."""
    told = next((run for run in runs(home) if run.run_id == run_id), None)
    if told is None:
        return f"no run {run_id} is known; nothing was run; 'evo lineage events --json' lists what runs there were"
    if told.parent:
        return (
            f"run {run_id} is '{told.job}', a part of run {told.parent}; nothing was run, since only whole flows "
            "record their parameters; rerun that one"
        )
    return (
        f"run {run_id} was the command of '{told.job}', of which no parameters are recorded; nothing was run; give the "
        "command once more"
    )

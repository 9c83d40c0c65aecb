"""Approval: a person has the last word before a model that a gate blessed is promoted.

A run of a deployment is suspended, which holds neither a worker nor a limit, until somebody resumes it on Prefect's
page and fills in the form.
"""

from __future__ import annotations

from prefect.context import FlowRunContext
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from evoembedding.warehouse.registry.gates import Judged

WAITS_S = 7 * 86_400  # then the run fails, and the next one asks again


class Approval(RunInput):
    """What a person says."""

    promote: bool = Field(description="Make it the champion.")
    why: str = Field("", description="For the history of the name.")


def approval(label: str, judged: Judged) -> Approval | None:
    """What was said of a version; None where this run cannot wait for anybody, as it is of no deployment."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return None
    asked = Approval.with_initial_data(description=_told(label, judged), promote=True)
    # By the model: a run that goes on is given what was said, and asks nothing twice. Not by the gate, whose id is
    # another one where the model was judged by somebody else's meanwhile.
    return suspend_flow_run(wait_for_input=asked, timeout=WAITS_S, key=judged.model_id)


def _told(label: str, judged: Judged) -> str:
    """What the gate found, for the form."""
    lines = [
        f"| {row.metric} | {row.question_slice} | {_of(row.value)} | {_of(row.baseline_value)} | {row.reason} |"
        for row in judged.rows
    ]
    against = f" against {judged.baseline_id}" if judged.baseline_id else ""
    head = ["| metric | slice | model | baseline | found |", "|---|---|---|---|---|"]
    return "\n".join([f"Gate {judged.gate_id} blessed **{label}**{against}.", "", *head, *lines])


def _of(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

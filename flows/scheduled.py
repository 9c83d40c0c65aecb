"""What a Prefect server of the user's own will run next. None is started to be asked."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from evoembedding.flows.terminal.prefect_server import answers
from evoembedding.schemas.episode import Record
from evoembedding.schemas.moments import Moment

MOST = 10


class Scheduled(Record):
    """A run that is to start, and of which flow and deployment it is."""

    run_id: str
    flow: str
    deployment: str
    due: Moment | None


def scheduled() -> list[Scheduled] | None:
    """The next runs, the first one first; None where no server is configured.

    Raises:
        EvoError: the server does not answer.
    """
    if not answers("what is scheduled is not known"):
        return None
    waiting = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=waiting, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=MOST)
        flows = {run.flow_id: client.read_flow(run.flow_id).name for run in found}
        deployments = {
            run.deployment_id: client.read_deployment(run.deployment_id).name for run in found if run.deployment_id
        }
        return [
            Scheduled(
                run_id=str(run.id),
                flow=flows[run.flow_id],
                deployment=deployments[run.deployment_id] if run.deployment_id else "",
                due=run.expected_start_time,
            )
            for run in found
        ]

"""Each run of a flow tells OpenLineage that it started and how it ended, with what it read and wrote.

`@emits` on a flow, or on a task that commands call by itself, makes a run; code in it calls `reads` and `writes` where
it knows what it used. Runs nest: a flow's parts name it as their parent.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import cache, wraps
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

import prefect
from openlineage.client.event_v2 import RunState
from openlineage.client.uuid import generate_new_uuid
from prefect.context import FlowRunContext, TaskRunContext

from evoembedding.flows.progress import tell
from evoembedding.flows.settings import git_commit
from evoembedding.schemas.errors import EvoError, InterruptionError
from evoembedding.warehouse.backend import Backend
from evoembedding.warehouse.openlineage.assets import PRODUCER, Asset, place
from evoembedding.warehouse.openlineage.event_log import open_client
from evoembedding.warehouse.openlineage.events import Job, Run, event

P = ParamSpec("P")
R = TypeVar("R")
SUBJECT_LENGTH = 64

_current: ContextVar[Run | None] = ContextVar("lineage_run", default=None)
# Once a process: it starts git up to three times.
_commit = cache(git_commit)


class Started(NamedTuple):
    """What Prefect says of a run: its id, whether it runs a FLOW or a TASK, and when its schedule meant it to start."""

    run_id: str
    kind: str
    due: datetime | None = None


def reads(*assets: Asset) -> None:
    """Note inputs of the run that this code is part of, if it is part of one."""
    if run := _current.get():
        run.reads(assets)


def writes(*assets: Asset) -> None:
    """Note outputs, as `reads`."""
    if run := _current.get():
        run.writes(assets)


@contextmanager
def lineage_run(home: Path, job: str, subject: str, description: str, file: str) -> Iterator[Run]:
    """A run that Prefect does not know: START now, then COMPLETE, FAIL or ABORT by how the block ends.

    `subject` is what the job is about (see `emits`), `description` what it does, `file` the caller's `__file__`.
    """
    with _run(home, _job(job, subject, description, file, "COMMAND"), None) as run:
        yield run


def emits(job: str, of: str = "") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make each call of a function, which has an argument `home`, a run of `job`; `of` names the argument that the
    job is about (a recipe, a dataset, a source): backends keep the latest run's edges of a job, so each has its own.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function, eval_str=True)
        description = (inspect.getdoc(function) or job).splitlines()[0]

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments.get(of)
            started = _started(run)
            kind = started.kind if started else "COMMAND"
            subject = str(getattr(given, "name", given) or "") if of else ""
            with _run(
                bound.arguments["home"], _job(job, subject, description, inspect.getfile(function), kind), started
            ):
                return function(*args, **kwargs)

        # Prefect looks names of types up in the module of the wrapper; here they are types already.
        run.__signature__ = signature  # type: ignore[attr-defined]
        return run

    return decorate


def _job(name: str, subject: str, description: str, file: str, kind: str) -> Job:
    """The job of a subject: of `demo@2` and of `demo` it is the same, of a path it is the last part."""
    short = subject.partition("@")[0].rstrip("/").rpartition("/")[2]
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", short).strip("-.")[:SUBJECT_LENGTH]
    commit = _commit()
    return Job(f"{name}.{clean}" if clean else name, description, kind, file, "" if commit == "unknown" else commit)


def _started(function: object) -> Started | None:
    """Prefect's run of this very function; None where it is called without one."""
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    # This function's own run: one that is called plainly finds that of its caller in the context.
    if task and task.task.fn is function:
        return Started(str(task.task_run.id), "TASK")
    if flow and flow.flow and flow.flow.fn is function and flow.flow_run:
        due = flow.flow_run.expected_start_time if flow.flow_run.auto_scheduled else None
        return Started(str(flow.flow_run.id), "FLOW", due)
    return None


@contextmanager
def _run(home: Path, job: Job, started: Started | None) -> Iterator[Run]:
    engine = ("Prefect", prefect.__version__) if started else ("evo", PRODUCER.rpartition("@")[2])
    run = Run(
        job=job,
        run_id=started.run_id if started else str(generate_new_uuid()),
        place=place(Backend.of(Path(home) / "warehouse")),
        engine=engine,
        parent=_current.get(),
        due=started.due if started else None,
    )
    client = open_client(Path(home), tell)

    def emit(state: RunState, error: str = "") -> None:
        try:
            client.emit(event(run, state, error))
        except Exception as problem:  # lineage must not fail what it only tells of
            tell(f"lineage: the event {state.value} of {job.name} was not made ({type(problem).__name__}: {problem})")

    token = _current.set(run)
    emit(RunState.START)
    try:
        yield run
    # Before `Exception`, which it is as well: a user who stops a run has not seen it fail.
    except InterruptionError as error:
        emit(RunState.ABORT, str(error))
        raise
    except Exception as error:
        emit(RunState.FAIL, _sentence(error))
        raise
    except BaseException as error:
        emit(RunState.ABORT, f"stopped by {type(error).__name__}")
        raise
    else:
        emit(RunState.COMPLETE)
    finally:
        _current.reset(token)
        client.close()


def _sentence(error: Exception) -> str:
    """Our own errors are sentences; any other is named."""
    return str(error) if isinstance(error, EvoError) else f"{type(error).__name__}: {error}"

"""OpenLineage events: that a run has begun or ended, of which job, with what it read and wrote."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from urllib.parse import quote

from openlineage.client import event_v2
from openlineage.client import facet_v2 as facets
from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent, RunState

from evoembedding.warehouse.openlineage.assets import CODE, PRODUCER, Asset, Place, named

SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.I)
SECRET_LENGTH = 6  # a shorter value is a word that texts hold anyway


@dataclass(frozen=True)
class Job:
    """What runs again and again. `kind` is FLOW, TASK or COMMAND; `file` its source, a path on this machine."""

    name: str
    description: str
    kind: str
    file: str
    commit: str = ""
    namespace: str = field(default_factory=lambda: os.environ.get("OPENLINEAGE_NAMESPACE") or "evoembedding")


@dataclass
class Run:
    """One run of a job, which gathers what it reads and writes. `due` is when its schedule meant it to start."""

    job: Job
    run_id: str
    place: Place
    engine: tuple[str, str]  # name, version
    parent: Run | None = None
    due: datetime | None = None
    inputs: dict[str, Asset] = field(default_factory=dict)
    outputs: dict[str, Asset] = field(default_factory=dict)

    def reads(self, assets: Iterable[Asset]) -> None:
        """Note inputs, each once."""
        self.inputs.update({asset.namespace + asset.name: asset for asset in assets})

    def writes(self, assets: Iterable[Asset]) -> None:
        """Note outputs, each once."""
        self.outputs.update({asset.namespace + asset.name: asset for asset in assets})


def event(run: Run, state: RunState, error: str = "") -> RunEvent:
    """The event that a run has come to `state`; `error` is the sentence that says why it failed or was stopped."""
    return RunEvent(
        eventType=state,
        eventTime=datetime.now(UTC).isoformat(),
        run=event_v2.Run(runId=run.run_id, facets=_run_facets(run, error)),
        job=event_v2.Job(namespace=run.job.namespace, name=run.job.name, facets=_job_facets(run.job)),
        inputs=[_input(asset, run.place) for asset in run.inputs.values()],
        outputs=[_output(asset, run.place) for asset in run.outputs.values()],
        producer=PRODUCER,
    )


def without_secrets(text: str) -> str:
    """The first line of a text, less passwords in URLs and the values of variables that are named like secrets."""
    line = (text.strip().splitlines() or [""])[0][:1000]
    line = re.sub(r"://[^/\s@]+@", "://***@", line)
    for name, value in os.environ.items():
        if SECRET_NAME.search(name) and len(value) >= SECRET_LENGTH:
            line = line.replace(value, "***")
    return line


def _run_facets(run: Run, error: str) -> dict[str, facets.RunFacet]:
    engine, version = run.engine
    made: dict[str, facets.RunFacet] = {
        "processing_engine": facets.processing_engine_run.ProcessingEngineRunFacet(
            name=engine, version=version, openlineageAdapterVersion=installed("evoembedding")
        )
    }
    if run.parent:
        made["parent"] = _parent(run.parent)
    if run.due:
        made["nominalTime"] = facets.nominal_time_run.NominalTimeRunFacet(nominalStartTime=run.due.isoformat())
    if error:
        made["errorMessage"] = facets.error_message_run.ErrorMessageRunFacet(
            message=without_secrets(error), programmingLanguage="PYTHON"
        )
    return made


def _parent(parent: Run) -> facets.RunFacet:
    form, root = facets.parent_run, parent
    while root.parent:
        root = root.parent
    return form.ParentRunFacet(
        run=form.Run(runId=parent.run_id),
        job=form.Job(namespace=parent.job.namespace, name=parent.job.name),
        root=form.Root(
            run=form.RootRun(runId=root.run_id), job=form.RootJob(namespace=root.job.namespace, name=root.job.name)
        ),
    )


def _job_facets(job: Job) -> dict[str, facets.JobFacet]:
    file = Path(job.file).resolve()
    path = file.relative_to(CODE).as_posix() if file.is_relative_to(CODE) else file.name
    return {
        "documentation": facets.documentation_job.DocumentationJobFacet(description=job.description),
        "jobType": facets.job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration="EVO" if job.kind == "COMMAND" else "PREFECT", jobType=job.kind
        ),
        # Without one the client would send the origin of the checkout that the user happens to stand in.
        "sourceCodeLocation": facets.source_code_location_job.SourceCodeLocationJobFacet(
            type="git", url=f"{PRODUCER}#{quote(path)}", path=path, version=job.commit or None
        ),
    }


def _input(asset: Asset, where: Place) -> InputDataset:
    namespace, name, made = named(asset, where)
    return InputDataset(namespace=namespace, name=name, facets=made, inputFacets=dict(asset.as_input))


def _output(asset: Asset, where: Place) -> OutputDataset:
    namespace, name, made = named(asset, where)
    counted = facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=asset.rows, size=asset.size, fileCount=asset.files
    )
    known = any(count is not None for count in (asset.rows, asset.size, asset.files))
    return OutputDataset(
        namespace=namespace, name=name, facets=made, outputFacets={"outputStatistics": counted} if known else {}
    )

"""The report as a step of a flow: written, and linked in Prefect."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.artifacts import create_link_artifact

from evoembedding.flows.progress import tell
from evoembedding.flows.report.page import write_report
from evoembedding.warehouse.catalog import Warehouse


@task(persist_result=False)
def report(home: Path, identity: str) -> Path:
    """Write the page of a model id or NAME@N; where it is."""
    with Warehouse.open(home) as warehouse:
        path = write_report(warehouse, home, identity)
    create_link_artifact(key="report", link=path.as_uri(), description=f"Report of {identity}")
    tell(f"report: {path}")
    return path

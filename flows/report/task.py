"""The report as a step of a flow: written, and linked in Prefect."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from evoembedding.flows.progress import tell
from evoembedding.flows.report.index import write_index
from evoembedding.flows.report.page import write_report
from evoembedding.warehouse.catalog import Warehouse


@task(persist_result=False)
def report(home: Path, identity: str) -> Path:
    """Write the page of a model id or NAME@N, and the index; where the page is."""
    with Warehouse.open(home) as warehouse:
        path = write_report(warehouse, home, identity)
        write_index(warehouse, home)
    told = f"Report of {identity}"
    if served := os.environ.get("EVO_REPORTS_URL"):
        create_link_artifact(key="report", link=f"{served.rstrip('/')}/{quote(path.name)}", description=told)
    else:  # a browser follows no link of a page to a file, least of all to one of another machine
        where = f"`{path}`, on the machine of this run; `evo report {identity}` writes it anew."
        create_markdown_artifact(key="report", markdown=where, description=told)
    tell(f"report: {path}")
    return path

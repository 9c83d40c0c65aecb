"""Mirror: an MLflow server of the user's own is brought up to date with what the warehouse knows of its models.

The warehouse is never read from there. Everything that MLflow lacks is sent, whenever something has come: so what
came while the server was down is not lost, and nothing is there twice.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from filelock import FileLock

from evoembedding.flows.settings import written
from evoembedding.schemas.errors import EvoError, InterruptionError
from evoembedding.schemas.secrets import scrubbed
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.registry.labels import names

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI = "MLFLOW_TRACKING_URI"
LOCK = "mlflow.lock"  # under the state folder: of two that mirror at once, both would make what is not there yet
REASON_LENGTH = 200
# MLflow's own are two minutes a request, and seven retries in four: a run would wait for a server that is down.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would stand in what `--json` prints
}


class Mirrored(NamedTuple):
    """How many runs, versions and aliases were made or changed, and which aliases MLflow does not take."""

    runs: int = 0
    versions: int = 0
    aliases: int = 0
    refused: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """A sentence on what is not mirrored; '' where everything is."""
        if not self.refused:
            return ""
        return f"MLflow takes no alias such as {', '.join(self.refused)}: mirrored was everything else"


def mirror(home: Path) -> None:
    """Bring the server of `MLFLOW_TRACKING_URI` up to date, where that is set. What goes wrong is told, and fails
    nothing.
    """
    if not os.environ.get(URI):
        return
    from evoembedding.flows.progress import tell  # commands that mirror nothing do without Prefect

    try:
        told = bring_up(home).told
    except InterruptionError:
        raise
    except EvoError as error:
        told = str(error)
    except Exception as error:  # it must not fail what it only tells of
        told = f"MLflow was not brought up to date ({_reason(error)})"
    if told:
        tell(told)


def bring_up(home: Path) -> Mirrored:
    """Send everything that the server lacks.

    Raises:
        EvoError: no server is set, the client is not installed, or the server does not answer or take it.
    """
    uri = os.environ.get(URI)
    if not uri:
        raise EvoError(f"no MLflow server is set; nothing was mirrored; set {URI} to its address")
    _check_client(_address(uri))
    from mlflow import MlflowClient, MlflowException

    try:
        with FileLock(written(home) / LOCK), Warehouse.open(home) as warehouse:
            return _mirrored(MlflowClient(), warehouse)
    except MlflowException as error:
        raise EvoError(
            f"MLflow at '{_address(uri)}' ({URI}) was not brought up to date ({_reason(error)}); the warehouse has "
            "everything: 'evo model mirror' sends it, and so does the next command that changes something"
        ) from None


def _check_client(address: str) -> None:
    """Import MLflow's client, which reads its settings then.

    Raises:
        EvoError: it is not installed.
    """
    os.environ.update(QUIET)
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise EvoError(
            f"MLflow's client cannot be imported ({error}); nothing was mirrored to '{address}' ({URI}); install this "
            "package with its extra 'mlflow', or unset the variable"
        ) from error


def _mirrored(client: MlflowClient, warehouse: Warehouse) -> Mirrored:
    from evoembedding.flows.mlflow_runs import mirror_runs
    from evoembedding.flows.mlflow_versions import mirror_versions

    runs, changed = mirror_runs(client, warehouse)
    done = Mirrored(changed)
    for name in names(warehouse):
        found = mirror_versions(client, warehouse, name, runs)
        done = Mirrored(
            changed,
            done.versions + found.versions,
            done.aliases + found.aliases,
            (*done.refused, *found.refused),
        )
    return done


def _address(uri: str) -> str:
    """The URI without a user, password or query."""
    try:
        parts = urlsplit(uri)
        return scrubbed(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl())
    except ValueError:
        return "what is set"


def _reason(error: Exception) -> str:
    """Why, in a line without secrets: MLflow repeats the URI, and with it its password."""
    line = " ".join(str(error).split()) or type(error).__name__
    return scrubbed(re.sub(r"//\S*@", "//", line))[:REASON_LENGTH]

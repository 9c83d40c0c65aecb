"""Where OpenLineage events go: a file of the state folder, and the endpoint that the client's own settings name.

`lineage/openlineage-YYYY-MM.jsonl`, a month (UTC) a file, an event a line. Files are only appended to, so that nothing
needs turning over while other processes write, and a month that is over can be archived or removed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from openlineage.client import OpenLineageClient
from openlineage.client.client import Event
from openlineage.client.serde import Serde
from openlineage.client.transport import Transport, get_default_factory
from openlineage.client.transport.http import HttpConfig, HttpTransport

from evoembedding.schemas.episode import Record
from evoembedding.schemas.errors import EvoError

FOLDER = "lineage"
DEADLINE_S = 3.0  # all that sending an event may hold a run up, whatever the endpoint does
TIMEOUT_S = 2.0
REST_S = 60.0  # an endpoint that failed is left alone so long
_resting: dict[str, float] = {}  # until when (monotonic), by endpoint: for all runs of this process
logging.getLogger("openlineage").setLevel(logging.CRITICAL)  # what fails is told once, by `Outlet`

Tell = Callable[[str], None]


class Outlet(Transport):
    """Keeps every event in the file, then sends it on. Neither can fail a run; `tell` gets a line when one does."""

    kind = "evo"

    def __init__(self, home: Path, tell: Tell) -> None:
        self.folder, self.tell = home / FOLDER, tell
        self.remote: Transport | None = None
        self.address = ""

    def connect(self, remote: Transport | None) -> None:
        """Send events to `remote` as well.

        Raises:
            ValueError: its URL is none.
        """
        self.remote = remote
        url = urlsplit(str(getattr(remote, "url", "")))
        # Host and port only: the rest may hold a secret.
        self.address = f"{url.hostname}:{url.port}" if url.port else url.hostname or str(remote and remote.kind)

    def emit(self, event: Event) -> None:
        """Append the event to this month's file, and send it where there is an endpoint that answers."""
        path = self.folder / f"openlineage-{datetime.now(UTC):%Y-%m}.jsonl"
        try:
            append_line(path, Serde.to_json(event).encode())
        except OSError as error:
            self.tell(f"lineage: no event could be kept in '{path}' ({error.strerror}); the run goes on")
        if self.remote:
            self._try(partial(self.remote.emit, event))

    def close(self, timeout: float = -1) -> bool:
        """Let a transport that sends in the background send what it still holds, for as long as a send may take."""
        if self.remote:
            self._try(partial(self.remote.close, TIMEOUT_S))
        return True

    def _try(self, work: Callable[[], object]) -> None:
        if time.monotonic() < _resting.get(self.address, 0):
            return
        try:
            _in_time(work)
            _resting.pop(self.address, None)
        except Exception as error:
            if self.address not in _resting:  # else this outage has been told
                outage = f"lineage: {self.address} took no event ({_reason(error)})"
                self.tell(f"{outage}; events are kept in '{self.folder}'")
            _resting[self.address] = time.monotonic() + REST_S


class RunTold(Record):
    """A run as its newest event tells it: an end where there was one, else a start. Times are ISO 8601."""

    run_id: str
    job: str
    state: str
    started: str
    told: str
    parent: str
    error: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def open_client(home: Path, tell: Tell) -> OpenLineageClient | Outlet:
    """The official client over an outlet, with the settings that it reads from the environment or `openlineage.yml`.

    Settings that it cannot read are told, and events are then only kept in the file.
    """
    outlet = Outlet(home, tell)
    try:
        client = OpenLineageClient(transport=outlet)
        outlet.connect(_remote(client.config.transport or {}))
    except Exception as error:  # the client raises many kinds on settings, some with their values
        tell(f"lineage: OpenLineage's settings cannot be used ({type(error).__name__}); events are only kept in files")
        return outlet
    return client


def append_line(path: Path, line: bytes) -> None:
    """Append a line that is whole or absent, also when others append to the file or the disk is full.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as handle:
        # Others append too: without the lock, where the file ends may have changed by the time we write.
        fcntl.flock(handle, fcntl.LOCK_EX)
        end = handle.seek(0, os.SEEK_END)
        if end:
            handle.seek(end - 1)
            line = line if handle.read(1) == b"\n" else b"\n" + line  # a killed writer left half of one
        try:
            written = handle.write(line + b"\n")
        except OSError:
            written = 0
            raise
        finally:
            if written != len(line) + 1:
                handle.truncate(end)
        if written != len(line) + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_events(home: Path) -> Iterator[dict[str, Any]]:
    """The events that were kept, oldest first. Half a line, which a killed writer leaves, is passed over."""
    for path in sorted((home / FOLDER).glob("openlineage-*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with suppress(json.JSONDecodeError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        yield event


def runs(home: Path) -> list[RunTold]:
    """What the kept events say of each run, in the order of their starts."""
    found: dict[str, RunTold] = {}
    for event in read_events(home):
        facets = event["run"].get("facets", {})
        before = found.get(event["run"]["runId"])
        found[event["run"]["runId"]] = RunTold(
            run_id=event["run"]["runId"],
            job=event["job"]["name"],
            state=event["eventType"],
            started=before.started if before else event["eventTime"],
            told=event["eventTime"],
            parent=facets.get("parent", {}).get("run", {}).get("runId", ""),
            error=facets.get("errorMessage", {}).get("message", ""),
            inputs=tuple(f"{one['namespace']} {one['name']}" for one in event["inputs"]),
            outputs=tuple(f"{one['namespace']} {one['name']}" for one in event["outputs"]),
        )
    return list(found.values())


def resend(home: Path) -> int:
    """Send all kept events to the endpoint of the client's settings, oldest first; how many those were.

    Raises:
        EvoError: there is no endpoint, or it did not take an event.
    """
    outlet = Outlet(home, print)
    try:
        outlet.connect(_remote(OpenLineageClient(transport=outlet).config.transport or {}))
    except Exception as error:
        raise EvoError(
            f"OpenLineage's settings cannot be used ({type(error).__name__}); nothing was sent; mend OPENLINEAGE_URL, "
            "or the file that OPENLINEAGE_CONFIG names"
        ) from None
    if outlet.remote is None:
        raise EvoError("no OpenLineage endpoint is set; nothing was sent; set OPENLINEAGE_URL")
    sent = 0
    for sent, event in enumerate(read_events(home), start=1):
        try:
            _in_time(partial(outlet.remote.emit, cast(Event, event)))  # it is serialised as it is
        except Exception as error:
            raise EvoError(
                f"{outlet.address} took {sent - 1} events and then none ({_reason(error)}); the rest was not sent; "
                "send again when it answers, an event that is sent twice does no harm"
            ) from None
    outlet.remote.close(TIMEOUT_S)
    return sent


def _remote(config: dict[str, Any]) -> Transport | None:
    """The transport that the client's settings name; for a mere OPENLINEAGE_URL one that gives up early."""
    if config.get("type"):
        return get_default_factory().create(config)
    if not os.environ.get("OPENLINEAGE_URL"):
        return None
    endpoint = os.environ.get("OPENLINEAGE_ENDPOINT")
    key = os.environ.get("OPENLINEAGE_API_KEY")
    settings: dict[str, Any] = {
        "url": os.environ["OPENLINEAGE_URL"],
        "timeout": TIMEOUT_S,
        "retry": {"total": 0, "connect": 0, "read": False, "status_forcelist": []},  # none: errors come as they are
        **({"endpoint": endpoint} if endpoint else {}),
        **({"auth": {"type": "api_key", "apiKey": key}} if key else {}),
    }
    return HttpTransport(HttpConfig.from_dict(settings))


def _in_time(work: Callable[[], object]) -> None:
    """Run `work` for DEADLINE_S at most: name look-ups and answers that drip know no timeout of their own."""
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            work()
            ended.put(None)
        except Exception as error:
            ended.put(error)

    # A daemon: a send that never ends must not keep the process from ending.
    threading.Thread(target=run, daemon=True, name="openlineage").start()
    try:
        error = ended.get(timeout=DEADLINE_S)
    except queue.Empty:
        raise TimeoutError from None
    if error:
        raise error


def _reason(error: Exception) -> str:
    """Why it failed, without addresses or headers."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"HTTP {status}"
    name = type(error).__name__
    kinds = {"Timeout": "no answer in time", "ConnectionError": "cannot be reached"}
    return next((said for kind, said in kinds.items() if kind in name), name)

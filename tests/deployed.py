"""A Prefect server with all its services, the deployments of prefect.yaml and a worker: as users schedule flows.

server = Deployed.start(folder)
run_id = server.run("ingest", source="notes/")
assert server.ended(run_id)["type"] == "COMPLETED"
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from evoembedding.schemas.registry import CHAMPION
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.registry.labels import aliases
from tests.servers import free_port, healthy

ROOT = Path(__file__).parents[1]
POOL = "evo"
# By default the scheduler looks once a minute and makes the runs of an hour, and a worker looks every ten seconds.
EAGER = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT1S",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
DEADLINE_S = 1200.0  # for what takes seconds, or a minute or two, on an idle machine
LOOK_EVERY_S = 0.5
OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class Deployed:
    """It runs until `stop`; `home` is `$EVO_HOME` of the worker, and does not exist at first."""

    folder: Path
    port: int
    server: subprocess.Popen[bytes] = field(init=False)
    worker: subprocess.Popen[bytes] = field(init=False)

    @classmethod
    def start(cls, folder: Path, **environ: str) -> Deployed:
        """Start the server, deploy all that prefect.yaml has, and start the worker, with `environ` besides."""
        started = cls(folder, free_port())
        started.environ.update(environ)
        started.start_server()
        httpx.post(f"{started.url}/work_pools/", json={"name": POOL, "type": "process"}).raise_for_status()
        started.start_worker()
        automations = (ROOT / "automations.yaml").read_text()
        if beats := environ.get("PREFECT_FLOWS_HEARTBEAT_FREQUENCY"):
            automations = automations.replace("within: 600", f"within: {3 * int(beats)}")
        (folder / "automations.yaml").write_text(automations)
        files = ["--from-file", str(folder / "automations.yaml")]
        for words in (["--no-prompt", "deploy", "--all"], ["automation", "create", *files]):
            if started.prefect("deploy", *words).wait(DEADLINE_S) != 0:
                started.stop()
                raise AssertionError((folder / "deploy.log").read_text())
        return started

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @cached_property
    def environ(self) -> dict[str, str]:
        """What every process of it is given."""
        own = {"PREFECT_HOME": str(self.folder / "prefect"), "PREFECT_API_URL": self.url, "EVO_HOME": str(self.home)}
        return {**os.environ, **EAGER, **own}

    def prefect(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        """A command of Prefect's, whose output goes to NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "prefect", *words],
                cwd=ROOT,
                env=self.environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_server(self) -> None:
        """Start it, also again, on the database that is there."""
        self.server = self.prefect("server", "server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        deadline = time.monotonic() + DEADLINE_S
        while not healthy(f"{self.url}/health"):
            assert time.monotonic() < deadline and self.server.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.1)

    def start_worker(self) -> None:
        """Start one, also after another."""
        self.worker = self.prefect("worker", "worker", "start", "--pool", POOL, "--type", "process")

    def kill(self, *kept: int) -> None:
        """Kill whatever is at work, the runs included, as if the machine went; but for what is in the groups `kept`."""
        ours = f"PREFECT_API_URL={self.url}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                mine = ours in (entry / "environ").read_bytes().split(b"\0")
                if mine and os.getpgid(int(entry.name)) not in kept:
                    os.kill(int(entry.name), signal.SIGKILL)

    def stop(self) -> None:
        """End the worker, the runs that it has begun, each in a group of its own, and the server."""
        self.kill()
        for process in (self.worker, self.server):
            process.wait()

    def call(self, method: str, path: str, **body: Any) -> Any:
        """What the API answers; where its database is busy it is asked again, as Prefect's own clients do."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            answer = httpx.request(method, f"{self.url}/{path}", json=body.get("json", body), timeout=DEADLINE_S)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def deployment(self, name: str) -> dict[str, Any]:
        """The deployment of a flow."""
        found: dict[str, Any] = self.call("GET", f"deployments/name/{name}/{name}")
        return found

    def run(self, name: str, /, **parameters: Any) -> str:
        """Start a run of a deployment by hand; its id."""
        made = self.call(
            "POST",
            f"deployments/{self.deployment(name)['id']}/create_flow_run",
            parameters=parameters,
            state={"type": "SCHEDULED"},
        )
        return str(made["id"])

    def schedule(self, name: str, every_s: float, /, **parameters: Any) -> str:
        """Have a deployment run all the time from now on; the schedule's id."""
        wanted = {"schedule": {"interval": every_s}, "active": True, "parameters": parameters}
        (made,) = self.call("POST", f"deployments/{self.deployment(name)['id']}/schedules", json=[wanted])
        return str(made["id"])

    def switch_on(self, automation: str) -> None:
        """Switch on a trigger of prefect.yaml."""
        (found,) = self.call("POST", "automations/filter", automations={"name": {"any_": [automation]}})
        self.call("PATCH", f"automations/{found['id']}", enabled=True)

    def ended(self, run_id: str) -> dict[str, Any]:
        """The state in which a run has ended."""
        return self.wait(lambda: _over(self.call("GET", f"flow_runs/{run_id}")["state"]))

    def result(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What a run has returned, as it lies in the worker's storage."""
        file = Path(self.environ["PREFECT_HOME"]) / "storage" / state["data"]["storage_key"]
        result: dict[str, Any] = json.loads(file.read_text())
        return result

    def champion(self, name: str) -> int | None:
        """The version of a model that is in use, None where none is."""
        with Warehouse.open(self.home) as warehouse:
            return aliases(warehouse, name).get(CHAMPION)

    def wait(self, look: Any, every_s: float = LOOK_EVERY_S) -> dict[str, Any]:
        """The first thing that `look` finds, which looks every `every_s` seconds."""
        deadline = time.monotonic() + DEADLINE_S
        while not (found := look()):
            assert time.monotonic() < deadline and self.worker.poll() is None and self.server.poll() is None
            time.sleep(every_s)
        kept: dict[str, Any] = found
        return kept


def _over(state: dict[str, Any] | None) -> dict[str, Any] | None:
    return state if state and state["type"] in OVER else None

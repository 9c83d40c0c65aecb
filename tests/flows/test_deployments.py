"""Deployments on a real server and worker: a schedule fires, a run by hand needs no more than a recipe's name, and a
person is told and asked by Prefect's own means.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.registry.decisions import decisions
from tests import warm
from tests.deployed import OVER, ROOT, Deployed

pytestmark = pytest.mark.slow
EVERY_S = 1  # less than a run takes, which imports Prefect first
RECIPE = """base = "smallest"
[gate]
benchmark = "heldout"
approval = true
rules = [{metric = "nDCG@10", at_least = 0.0}]
"""
EXAMPLE = re.compile(r"### A notification.*?```python\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One server and worker for all tests of this kind."""
    started = Deployed.start(tmp_path_factory.mktemp("deployed"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def scheduled(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The runs of `ingest` that a schedule made, until one had ended well. The home is made by it."""
    notes = tmp_path_factory.mktemp("notes")
    for name in ("lisbon", "porto"):
        (notes / f"{name}.txt").write_text(f"The library of {name} opened in 1796 and lends maps. " * 20)
    deployment = deployed.deployment("ingest")["id"]
    schedule = deployed.schedule("ingest", EVERY_S, source=str(notes), create_home=True)
    chosen = {"deployments": {"id": {"any_": [deployment]}}}
    ended = {"flow_runs": {"state": {"type": {"any_": list(OVER)}}}}

    def enough() -> bool:
        runs = deployed.call("POST", "flow_runs/filter", **chosen, **ended)
        return sum(run["state"]["type"] != "CANCELLED" for run in runs) >= 2

    deployed.wait(enough)
    deployed.call("PATCH", f"deployments/{deployment}/schedules/{schedule}", active=False)
    runs: list[dict[str, Any]] = deployed.call(
        "POST", "flow_runs/filter", **chosen, **ended, sort="EXPECTED_START_TIME_ASC"
    )
    return runs


def test_a_schedule_fires(deployed: Deployed, scheduled: list[dict[str, Any]]) -> None:
    """And what comes while a run is at work is cancelled: none waits, and no two are at work at once."""
    assert {(run["auto_scheduled"], run["state"]["type"]) for run in scheduled} == {
        (True, "COMPLETED"),
        (True, "CANCELLED"),
    }
    done = [run for run in scheduled if run["state"]["type"] == "COMPLETED"]
    assert all(before["end_time"] <= after["start_time"] for before, after in pairwise(done))
    first, second = (deployed.result(run["state"]) for run in done[:2])
    assert {(found["read"], found["rejected"]) for found in (first, second)} == {(2, 0)}
    assert (first["new"], first["unchanged"], second["new"], second["unchanged"]) == (2, 0, 0, 2)
    with Warehouse.open(deployed.home) as warehouse:
        assert warehouse.query("select count(*) from documents").item() == 2


def test_runs_by_hand_feed_each_other(deployed: Deployed, scheduled: list[dict[str, Any]], tmp_path: Path) -> None:
    """And what cannot run says why, and runs nothing."""
    missing = tmp_path / "missing"
    refused = {
        "unknown recipe 'smalest'; nothing was run": deployed.run("retry", recipe="smalest"),
        f"home '{missing}' does not exist": deployed.run("train", dataset="smallest", home=str(missing)),
    }
    made = deployed.ended(deployed.run("synthesize", recipe="smallest"))
    assert made["type"] == "COMPLETED", made
    assert deployed.result(made)["new_episodes"] > 0
    for told, run_id in refused.items():
        state = deployed.ended(run_id)
        assert state["type"] == "FAILED"
        assert told in state["message"]
        assert "Traceback" not in state["message"]
    assert not missing.exists()
    built = deployed.ended(deployed.run("build_dataset", recipe="smallest"))
    assert built["type"] == "COMPLETED", built
    result = deployed.result(built)
    assert (result["dataset"], set(map(type, result.values()))) == ("smallest@1", {str, int})


def test_what_prefect_yaml_says_is_deployed(deployed: Deployed) -> None:
    """Schedules are examples, and off; a limit says what becomes of a second run."""
    for name, strategy in (("synthesize", "CANCEL_NEW"), ("train", "ENQUEUE")):
        found = deployed.deployment(name)
        assert found["description"] and found["tags"] == ["evo"] and not found["pull_steps"]
        assert found["global_concurrency_limit"]["limit"] == 1
        assert found["concurrency_options"]["collision_strategy"] == strategy
    for name in ("ingest", "synthesize", "build_dataset", "pipeline"):
        mine = [one for one in deployed.deployment(name)["schedules"] if one["slug"]]
        assert [one["active"] for one in mine] == [False]


@pytest.fixture
def heard() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a program that listens on loopback, and what it was posted."""
    posted: list[dict[str, Any]] = []

    class Listens(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listens)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", posted
    server.shutdown()


def test_a_person_is_told_and_asked(
    deployed: Deployed, scheduled: list[dict[str, Any]], tmp_path: Path, heard: tuple[str, list[dict[str, Any]]]
) -> None:
    """A run that asks is suspended; what a gate refuses meanwhile is posted; what is approved then is promoted."""
    address, posted = heard
    lenient, strict = tmp_path / "lenient.toml", tmp_path / "strict.toml"
    lenient.write_text(RECIPE)
    strict.write_text(RECIPE.replace("0.0", "0.999"))
    run_id = deployed.run("retrain", name="support", recipe=str(lenient))
    suspended = deployed.wait(lambda: stopped(deployed, run_id))
    assert suspended["name"] == "Suspended", suspended
    assert deployed.champion("support") is None

    (example,) = EXAMPLE.findall((ROOT / "docs/scheduling.md").read_text())
    example = example.replace("http://127.0.0.1:9000/", address)
    subprocess.run([sys.executable, "-c", example], env=deployed.environ, check=True)
    refused = warm.run(["gate", "support@1", "--recipe", str(strict)], deployed.environ)
    assert refused.returncode == 3, refused.stderr
    deployed.wait(lambda: posted)
    assert posted[0]["subject"].startswith("model-") and posted[0]["subject"].endswith(" was refused")
    assert "0.999" in posted[0]["body"]

    asked = suspended["state_details"]["run_input_keyset"]["description"]
    form = deployed.call("GET", f"flow_runs/{run_id}/input/{asked}")
    assert "blessed **support@1**" in str(form)
    deployed.call("POST", f"flow_runs/{run_id}/resume", run_input={"promote": True, "why": "read by Ana"})
    assert deployed.ended(run_id)["type"] == "COMPLETED"
    assert deployed.champion("support") == 1
    with Warehouse.open(deployed.home) as warehouse:
        ended = [one for one in decisions(warehouse, "support") if one.decision == "retrain"]
        assert [one.outcome for one in ended] == ["promoted"]
        rows = {table: len(warehouse.query(f"SELECT 1 FROM lake.{table}")) for table in ("models", "training_runs")}
        why = warehouse.query("SELECT reason FROM model_aliases WHERE alias = 'champion'").item()
    assert rows == {"models": 1, "training_runs": 1}  # the run that went on trained nothing again
    assert why.endswith("approved: read by Ana")


def stopped(deployed: Deployed, run_id: str) -> dict[str, Any] | None:
    """The state of a run that is over, or that waits for somebody."""
    state: dict[str, Any] | None = deployed.call("GET", f"flow_runs/{run_id}")["state"]
    return state if state and state["type"] in ("PAUSED", *OVER) else None

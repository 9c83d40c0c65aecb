"""A machine that goes in the middle of a scheduled retraining: the next run ends in the same champion."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.openlineage.event_log import read_events
from evoembedding.warehouse.registry.decisions import decisions
from tests.deployed import Deployed
from tests.soak import only_soaking

# In CI, runs are killed and gone on with in test_retrain.py, and test_loop.py has the server and the worker.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), only_soaking]
HEARTBEAT_S = "30"  # the least that Prefect takes; three of them are waited for
RECIPE = """base = "smallest"
name = "talks"
[simulator]
contexts = 300
[train]
steps = 60
checkpoint_every = 10
[gate]
benchmark = "heldout"
"""


def begun(home: Path, job: str) -> bool:
    """Whether a job has started, by its event."""
    return any(one["eventType"] == "START" and one["job"]["name"].startswith(job) for one in read_events(home))


def trains(home: Path) -> bool:
    return any((home / "runs").glob("*/checkpoints/step-*"))


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "training": trains,
    "synthesis": lambda home: begun(home, "synthesize"),
    "gate": lambda home: begun(home, "gate"),
    "server": trains,
}


@pytest.fixture(params=MOMENTS)
def killed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Deployed, str]]:
    """Deployed, with a schedule of `retrain`, and killed at a moment of its first run."""
    file = tmp_path / "talks.toml"
    file.write_text(RECIPE)
    deployed = Deployed.start(tmp_path, PREFECT_FLOWS_HEARTBEAT_FREQUENCY=HEARTBEAT_S)
    deployed.home.mkdir()
    deployed.schedule("retrain", 20, name="support", recipe=str(file))
    deployed.wait(lambda: MOMENTS[request.param](deployed.home))
    yield deployed, request.param
    deployed.stop()


def test_the_next_run_ends_in_the_same_champion(killed: tuple[Deployed, str]) -> None:
    deployed, moment = killed
    if moment == "server":
        deployed.server.kill()
        deployed.server.wait()
        deployed.start_server()
    else:
        deployed.kill(os.getpgid(deployed.server.pid))
        deployed.worker.wait()
        deployed.start_worker()
    ended = deployed.wait(lambda: outcome(deployed.home), every_s=3)
    assert ended == "promoted"
    with Warehouse.open(deployed.home) as warehouse:
        tables = ("models", "dataset_versions", "shard_sets", "training_runs")
        rows = {table: len(warehouse.query(f"SELECT 1 FROM lake.{table}")) for table in tables}
        trained = [one for one in decisions(warehouse, "support") if one.decision == "retrain"]
        episodes = warehouse.query("SELECT count(*), count(DISTINCT episode_id) FROM lake.episodes").row(0)
    assert rows == dict.fromkeys(rows, 1)
    assert len(trained) == 1
    assert episodes[0] == episodes[1]
    # No run is left that nobody is at work on, and none piled up while one was.
    deployed.wait(lambda: not states(deployed, "RUNNING", "PENDING"))
    crashed = [run for run in states(deployed, "CRASHED") if run["deployment_id"]]  # its parts are crashed as well
    assert len(crashed) == (moment != "server")
    assert len(states(deployed, "COMPLETED")) >= 1


def outcome(home: Path) -> str:
    with Warehouse.open(home) as warehouse:
        found = [one.outcome for one in decisions(warehouse, "support") if one.decision == "retrain"]
    return found[-1] if found else ""


def states(deployed: Deployed, *kinds: str) -> list[dict[str, Any]]:
    wanted = {"flow_runs": {"state": {"type": {"any_": list(kinds)}}}}
    runs: list[dict[str, Any]] = deployed.call("POST", "flow_runs/filter", **wanted)
    return runs

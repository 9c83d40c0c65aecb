"""Deployments on a real server and worker: a schedule fires, and a run by hand needs no more than a recipe's name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evoembedding.warehouse.catalog import Warehouse
from tests.deployed import Deployed

pytestmark = pytest.mark.slow
EVERY_S = 5


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
    over = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}}
    deployed.wait(lambda: deployed.call("POST", "flow_runs/filter", **chosen, **over))
    deployed.call("PATCH", f"deployments/{deployment}/schedules/{schedule}", active=False)
    runs: list[dict[str, Any]] = deployed.call("POST", "flow_runs/filter", **chosen, **over)
    return runs


def test_a_schedule_fires(deployed: Deployed, scheduled: list[dict[str, Any]]) -> None:
    assert {(run["auto_scheduled"], run["state"]["type"]) for run in scheduled} == {(True, "COMPLETED")}
    result = deployed.result(scheduled[-1]["state"])
    assert (result["read"], result["rejected"]) == (2, 0)
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

"""Machines that share PostgreSQL and S3 and no disk: what one has begun another goes on with, to the same end."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evoembedding.flows.commands.demo import EXAMPLES
from evoembedding.warehouse.catalog import Warehouse
from tests import warm
from tests.runs import curve

pytestmark = pytest.mark.slow
TRAIN = ("train", "smallest@1", "--recipe", "smallest", "--steps", "40")


class Machines:
    """Homes of which none is there when another one is at work."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment, self.away = folder, environment, folder / "away"
        self.away.mkdir()

    def environ(self, name: str) -> dict[str, str]:
        for other in self.folder.iterdir():
            if other.name not in (name, "away"):
                other.rename(self.away / other.name)
        if (self.away / name).exists():
            (self.away / name).rename(self.folder / name)
        return {**os.environ, **self.environment, "EVO_HOME": str(self.folder / name), "COLUMNS": "400"}

    def evo(self, name: str, *words: str) -> str:
        done = warm.run(words, self.environ(name))
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def json(self, name: str, *words: str) -> Any:
        return json.loads(self.evo(name, *words, "--json"))


def test_what_one_machine_begins_others_go_on_with(
    demo: Any, served: Callable[[], dict[str, str]], prefect_url: str, tmp_path: Path
) -> None:
    machines = Machines(tmp_path, {**served(), "PREFECT_API_URL": prefect_url})
    with Warehouse.open(demo.home) as alone:
        (digest,) = alone.query("SELECT digest FROM dataset_versions WHERE name = 'smallest'")["digest"]
    machines.evo("one", "ingest", str(EXAMPLES))
    machines.evo("one", "synthesize", "smallest")
    published = machines.json("one", "dataset", "publish", "smallest", "--recipe", "smallest")
    assert published["digest"] == digest
    shards = machines.json("two", "shard", "smallest@1", "--recipe", "smallest")["shard_set_id"]
    environ = machines.environ("one")
    with subprocess.Popen(warm.command(*TRAIN), env=environ, stderr=subprocess.PIPE) as training:
        while not list(tmp_path.glob("one/runs/*/checkpoints/step-00000012")):
            assert training.poll() is None
            time.sleep(0.05)
        training.kill()
    (begun,) = tmp_path.glob("one/runs/*")
    model = machines.json("two", *TRAIN)["model_id"]
    (run,) = tmp_path.glob("two/runs/*")
    assert run.name == begun.name
    assert [step for step, _ in curve(run)] == list(range(1, 41))
    assert min(int(p.name[5:]) for p in [*run.glob("checkpoints/step-*")]) >= 6 and not (tmp_path / "one").exists()
    before = curve(tmp_path / "away" / "one" / "runs" / run.name)
    assert curve(run)[:6] == before[:6]
    scores = machines.json("three", "evaluate", model, "--recipe", "smallest")
    assert scores
    assert shards in machines.evo("three", "trace", model)
    assert not [f for f in machines.json("three", "doctor", "--deep") if f["kind"] == "damaged"]
    machines.evo("three", "report", "smallest@1")
    machines.evo("two", "dataset", "expire", "smallest@1", "--force", "--yes")
    assert {f["kind"] for f in machines.json("one", "doctor")} <= {"orphan"}  # of the training that was killed

"""Training as a flow: which run it is, what it tells, and that it goes on when a rank is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from typer.testing import CliRunner

from evoembedding.flows.build_dataset import publish_version, shard_version
from evoembedding.flows.commands.app import app
from evoembedding.flows.recipes import recipe
from evoembedding.flows.report.training import stored_metrics, training_curves
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.flows.train import in_steps, metric_rows
from evoembedding.schemas.configs import Recipe, SimulatorConfig, TrainConfig
from evoembedding.schemas.dataset import ShardSet
from evoembedding.schemas.errors import EvoError
from evoembedding.synth.simulator import simulate
from evoembedding.trainer.identity import training_run_id
from evoembedding.trainer.model.batches import Schedule
from evoembedding.trainer.training.launch import launch
from evoembedding.trainer.training.rows import Rows
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.root import Root
from tests import warm
from tests.runs import curve, ranks_of

RECIPE = """
base = "smallest"
[train]
steps = 24
checkpoint_every = 4
batches_per_step = 2
"""


class World(NamedTuple):
    """A state folder with a published, sharded version d@1, and a recipe file."""

    home: Path
    shards: ShardSet
    recipe: Path

    @property
    def config(self) -> TrainConfig:
        return recipe(str(self.recipe)).train


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = tmp_path_factory.mktemp("world")
    simulator = SimulatorConfig(contexts=24)
    small: Recipe = recipe("smallest").model_copy(update={"name": "d", "simulator": simulator, "cloze": None})
    with Warehouse.open(home) as warehouse:
        commit_drafts(warehouse, simulate(simulator, 0, 24))
    publish_version.fn(home, "d", small)
    (home / "two.toml").write_text(RECIPE)
    return World(home, shard_version.fn(home, "d@1", small.train.model), home / "two.toml")


def test_run_is_the_same_however_it_is_carried_out(world: World) -> None:
    base = training_run_id(world.shards, world.config)
    for same in ({"zero_stage": 3}, {"checkpoint_every": 9}, {"checkpoint_activations": True}):
        assert training_run_id(world.shards, world.config.model_copy(update=same)) == base
    for other in ({"steps": 25}, {"batches_per_step": 4}, {"seed": 1}):
        assert training_run_id(world.shards, world.config.model_copy(update=other)) != base


def test_epochs_are_so_many_steps_that_every_row_is_read(world: World) -> None:
    path = world.home / world.shards.place
    config = in_steps(world.config.model_copy(update={"epochs": 3}), Root(path.parent), path.name)
    schedule = Schedule(Rows(path).tokens, config)
    assert (config.steps, config.epochs) == (3 * schedule.steps_per_epoch, 0)
    assert in_steps(config, Root(path.parent), path.name) == config
    read = [row for step in range(config.steps) for batch in schedule.batches(step) for row in batch]
    assert {read.count(row) for row in range(world.shards.rows)} >= {3}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--steps", "3", "--epochs", "1"), "both say how long"),
        (("--nproc", "2", "--hostfile", "hosts"), "both say where ranks run"),
        (("--ablate", "everything"), "unknown ablation 'everything'"),
    ],
)
def test_options_that_contradict_are_one_sentence(
    words: tuple[str, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVO_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["train", "d@1", *words])
    assert isinstance(result.exception, EvoError)
    assert why in str(result.exception)


def test_report_draws_the_warehouse_s_numbers_where_the_file_is_gone(tmp_path: Path) -> None:
    rows = [{"step": step, "loss": 5 - step / 10, "tokens": 100, "seconds": 0.5} for step in range(1, 31)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Warehouse.open(tmp_path / "home") as warehouse:
        warehouse.append_all({"training_metrics": metric_rows("run-1", rows)})
        warehouse.append_all({"training_metrics": metric_rows("run-1", rows)})  # as a rerun does
        stored = stored_metrics(warehouse, "run-1")
        assert stored_metrics(warehouse, "run-2") == []
    assert stored == rows
    from_table = training_curves(tmp_path / "gone.jsonl", stored)
    assert from_table == training_curves(tmp_path / "metrics.jsonl")
    assert {curve.title for curve in from_table.shown} == {"Loss", "Tokens per second"}


@pytest.mark.slow
def test_killed_rank_is_started_again_and_the_curve_goes_on(world: World, prefect_url: str, tmp_path: Path) -> None:
    run = world.home / "runs" / training_run_id(world.shards, world.config)
    words = ["train", "d@1", "--recipe", str(world.recipe), "--nproc", "2", "--json"]
    environ = {**os.environ, "EVO_HOME": str(world.home), "PREFECT_API_URL": prefect_url}
    started = warm.command(*words)
    process = subprocess.Popen(started, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (run / "metrics.jsonl").exists() or len(curve(run)) < 6:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(ranks_of(run)[-1], signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert err.count("ended with code -9") == 1
    tokenizer = next((world.home / "tokenizers").iterdir())
    launch(world.home / world.shards.place, tokenizer, world.config, tmp_path / "whole", on_progress=lambda row: None)
    wanted = curve(tmp_path / "whole")
    assert [step for step, _ in curve(run)] == [step for step, _ in wanted] == list(range(1, 25))
    assert [loss for _, loss in curve(run)] == pytest.approx([loss for _, loss in wanted], rel=1e-4)

    model = json.loads(out)
    with Warehouse.open(world.home) as warehouse:
        stored = warehouse.query(
            "SELECT step, value FROM training_metrics WHERE training_run_id = ? AND name = 'loss' ORDER BY step",
            (model["training_run_id"],),
        )
    assert stored.rows() == curve(run)
    logs = httpx.post(f"{prefect_url}/logs/filter", json={"limit": 200, "sort": "TIMESTAMP_DESC"}).json()
    told = [log["message"] for log in logs]
    assert any("ended with code -9" in message for message in told)
    assert any(message.startswith("step 24/24  loss") for message in told)


@pytest.mark.slow
def test_loss_that_is_not_a_number_is_not_tried_again(world: World, evo: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(RECIPE + "temperature = 1e-45\n")
    done = evo("train", "d@1", "--recipe", str(tmp_path / "bad.toml"), home=world.home)
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode == 1
    assert done.stderr.count("training run-") == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("evo: the loss is ")

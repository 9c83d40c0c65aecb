"""Models in a real MLflow server, in an environment of its own (`make mlflow`): all there, once, as they are today."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from evoembedding.flows.recipes import recipe
from evoembedding.flows.train import metric_rows
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.benchmark import MEMORY_OFF, MODEL
from evoembedding.schemas.dataset import DatasetVersion, Evaluation, ModelRecord, ShardSet, TrainingRun
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.registry.promotion import promote
from evoembedding.warehouse.registry.versions import register
from tests import warm
from tests.records import score, shard_set, trained_model, training_run
from tests.servers import free_port, healthy
from tests.warehouse.world import make_partition, opened_copy

SERVER = Path(__file__).parents[2] / ".venv-mlflow"
PASSWORD = "0f-this-Test"
STEPS = 20
needs_server = pytest.mark.skipif(
    find_spec("mlflow") is None or not (SERVER / ".ready").exists(),
    reason="neither the extra 'mlflow' nor an MLflow server is here: make setup mlflow",
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that keeps its entries in SQLite."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    words = [SERVER / "bin" / "python", "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(words, env=environ, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        while not healthy(f"{address}/health"):
            assert server.poll() is None, (folder / "log").read_text()[-3000:]
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`support@1`, of the dataset `small`, trained and scored; it is the champion."""
    home: Path = tmp_path_factory.mktemp("made") / "home"
    with Warehouse.open(home) as warehouse:
        warehouse.append_all(make_partition(0, 4))
        version = publish(warehouse, "small", "{}", "unknown", EpisodeFilter())
        warehouse.append("shard_sets", to_frame(ShardSet, [shard_set("1", version.dataset_id)]))
        scores = [("all", MODEL, 0.75), ("recall", MODEL, 0.5), ("all", MODEL + MEMORY_OFF, 0.25)]
        rows = [
            score("model-1", evaluation_id=f"eval-{n}", question_type=kind, system=system, value=value, measured_on="a")
            for n, (kind, system, value) in enumerate(scores)
        ]
        warehouse.append("evaluations", to_frame(Evaluation, rows))
        register(warehouse, add_model(warehouse, "1"), "support", "me")
        promote(warehouse, "support@1", "me", "the first", force=True)
    return home


def add_model(warehouse: Warehouse, name: str, steps: int = STEPS) -> ModelRecord:
    """A model with a folder, of the one shard set, and the metrics of its run."""
    model = trained_model(name)
    folder = warehouse.home / model.place
    folder.mkdir(parents=True)
    (folder / "lineage.json").write_text(json.dumps({"git_commit": "c" * 40, "package_version": "1.2.3"}))
    run = training_run(name, "shards-1", config=recipe("smallest").train.model_dump_json())
    metrics = [{"step": step, "loss": 1 / step, "tokens_per_second": 10.0} for step in range(1, steps + 1)]
    warehouse.append_all(
        {
            "training_metrics": metric_rows(run.training_run_id, metrics),
            "training_runs": to_frame(TrainingRun, [run]),
            "models": to_frame(ModelRecord, [model]),
        }
    )
    return model


def environment(home: Path, uri: str) -> dict[str, str]:
    return {**os.environ, "EVO_HOME": str(home), "MLFLOW_TRACKING_URI": uri, "COLUMNS": "200"}


def counted(done: warm.Done) -> tuple[int, int, int]:
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return told["runs"], told["versions"], told["aliases"]


def client(url: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(url)


def runs_of(url: str, dataset: str) -> list[Any]:
    known = client(url).get_experiment_by_name(dataset)
    return list(client(url).search_runs([known.experiment_id])) if known else []


def aliases_of(url: str, name: str) -> dict[str, str]:
    return {alias: str(number) for alias, number in client(url).get_registered_model(name).aliases.items()}


@needs_server
@pytest.mark.slow
def test_models_are_mirrored_once_and_aliases_follow(url: str, made: Path, tmp_path: Path) -> None:
    home, mirror = tmp_path / "home", ["model", "mirror", "--json"]
    with opened_copy(made, home) as warehouse:
        version = DatasetVersion(**warehouse.query("SELECT * FROM lake.dataset_versions").row(0, named=True))
    first, again = warm.run_each([mirror, mirror], environment(home, url))
    assert (counted(first), counted(again)) == ((1, 1, 1), (0, 0, 0))
    (run,) = runs_of(url, "small")
    assert (run.info.run_name, run.info.status) == ("run-1", "FINISHED")
    assert run.info.end_time - run.info.start_time == 1000
    config = recipe("smallest").train
    assert run.data.params["model.backbone"] == config.model.backbone
    assert run.data.params["steps"] == str(config.steps)
    known = {"evo.model_id": "model-1", "evo.shard_set_id": "shards-1", "evo.package_version": "1.2.3"}
    known |= {"mlflow.source.git.commit": "c" * 40, "evo.measured_on.heldout": "a"}
    assert known.items() <= run.data.tags.items()
    losses = client(url).get_metric_history(run.info.run_id, "loss")
    assert {one.step: one.value for one in losses} == {step: 1 / step for step in range(1, STEPS + 1)}
    assert len(losses) == STEPS
    scores = {name: value for name, value in run.data.metrics.items() if "heldout" in name}
    assert scores == {"heldout/recall_at_1": 0.75, "heldout/recall/recall_at_1": 0.5}
    (read,) = run.inputs.dataset_inputs
    assert (read.dataset.name, read.dataset.digest) == ("small@1", version.digest[:36])
    assert json.loads(read.dataset.source) == {"dataset_id": version.dataset_id, "digest": version.digest}
    (registered,) = client(url).search_model_versions("name = 'support'")
    assert (registered.source, registered.run_id) == ("evo:/runs/run-1/model", run.info.run_id)
    assert registered.tags == {"evo.model_id": "model-1", "evo.label": "support@1", "evo.number": "1"}
    assert aliases_of(url, "support") == {"champion": "1"}

    with Warehouse.open(home) as warehouse:
        add_model(warehouse, "2")
        newer = score("model-1", evaluation_id="eval-9", system=MODEL, value=0.9, measured_on="b")
        warehouse.append("evaluations", to_frame(Evaluation, [newer]))
    moves = [
        ["model", "register", "model-2", "support"],
        ["model", "tag", "support@1", "stable"],
        ["model", "tag", "support@1", "v1"],
        ["model", "promote", "support@2", "--force", "--why", "it is newer"],
    ]
    done = warm.run_each(moves, environment(home, url))
    assert [one.returncode for one in done] == [0, 0, 0, 0]
    assert "MLflow takes no alias such as support@v1" in done[2].stderr
    assert aliases_of(url, "support") == {"champion": "2", "previous": "1", "stable": "1"}
    assert len(runs_of(url, "small")) == 2
    measured = client(url).get_metric_history(run.info.run_id, "heldout/recall_at_1")
    assert [(one.step, one.value) for one in measured] == [(0, 0.75), (1, 0.9)]
    back = [["model", "rollback", "support"], ["model", "tag", "support", "stable", "--remove"], mirror]
    *moved, refused = warm.run_each(back, environment(home, url))
    assert ([one.returncode for one in moved], refused.returncode) == ([0, 0], 1)
    assert aliases_of(url, "support") == {"champion": "1"}
    assert len(client(url).search_model_versions("name = 'support'")) == 2


@needs_server
@pytest.mark.slow
def test_a_killed_mirror_is_gone_on_with(url: str, tmp_path: Path) -> None:
    home, steps = tmp_path / "home", 3000
    with Warehouse.open(home) as warehouse:
        warehouse.append_all(make_partition(0, 4))
        version = publish(warehouse, "killed", "{}", "unknown", EpisodeFilter())
        warehouse.append("shard_sets", to_frame(ShardSet, [shard_set("1", version.dataset_id)]))
        add_model(warehouse, "7", steps)
    mirror = subprocess.Popen(warm.command("model", "mirror"), env=environment(home, url))
    while not runs_of(url, "killed"):
        assert mirror.poll() is None
        time.sleep(0.02)
    mirror.kill()
    mirror.wait()
    (broken,) = runs_of(url, "killed")
    assert broken.info.status == "RUNNING"
    done = warm.run(["model", "mirror"], environment(home, url))
    assert (done.returncode, done.stdout) == (0, "1 runs, 0 versions and 0 aliases were new to MLflow\n")
    (run,) = runs_of(url, "killed")
    assert (run.info.run_id, run.info.status) == (broken.info.run_id, "FINISHED")
    assert len(client(url).get_metric_history(run.info.run_id, "loss")) == steps


@needs_server
@pytest.mark.slow
def test_a_server_that_is_down_is_told_and_catches_up(url: str, made: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with opened_copy(made, home):
        pass
    down = environment(home, f"http://me:{PASSWORD}@127.0.0.1:{free_port()}")
    tagged, mirrored = warm.run_each([["model", "tag", "support@1", "late"], ["model", "mirror"]], down)
    assert (tagged.returncode, tagged.stdout) == (0, "support@late is support@1\n")
    assert (mirrored.returncode, mirrored.stdout) == (1, "")
    for told in (tagged.stderr, mirrored.stderr):
        assert told.count("\n") == 1
        assert "(MLFLOW_TRACKING_URI) was not brought up to date" in told
        assert PASSWORD not in told
    assert warm.run(["model", "mirror"], environment(home, url)).returncode == 0
    assert aliases_of(url, "support")["late"] == "1"


WITHOUT = """
import sys
sys.modules["mlflow"] = None
from evoembedding.flows.commands.entry import main
main()
"""


def test_a_client_that_is_missing_is_told(made: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with opened_copy(made, home):
        pass
    settings = environment(home, "http://127.0.0.1:1")
    words = ["model", "tag", "support@1", "stable"]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *words], env=settings, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "support@stable is support@1\n")
    assert "install this package with its extra 'mlflow'" in done.stderr
    assert done.stderr.count("\n") == 1
    asked = warm.run(["model", "mirror"], {**settings, "MLFLOW_TRACKING_URI": ""})
    assert (asked.returncode, "no MLflow server is set; nothing was mirrored" in asked.stderr) == (1, True)

"""Training jobs as processes under DeepSpeed: metrics, resume, ranks, failures."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.embedder import EvoEmbedder
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model_folder import WEIGHTS
from evoembedding.trainer.training.launch import launch
from evoembedding.trainer.training.loop import check_positions
from tests.soak import only_soaking


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


@pytest.mark.slow
def test_resumed_job_gives_the_curve_of_an_uninterrupted_one(
    world: tuple[Path, Path], config: TrainConfig, tmp_path: Path
) -> None:
    told: list[dict[str, Any]] = []
    model = launch(*world, config, tmp_path / "whole", on_progress=told.append)
    assert told[-1]["step"] == told[-1]["steps"] == 6
    assert EvoEmbedder.load(model).name == "EvoEmbedding"
    checkpoints = sorted(p.name for p in (tmp_path / "whole" / "checkpoints").glob("step-*"))
    assert checkpoints == ["step-00000004", "step-00000006"]
    # As a job killed after step 5 leaves it: the checkpoint of step 4, and a row of metrics too many.
    stopped = tmp_path / "stopped"
    (tmp_path / "whole").rename(stopped)
    wanted = losses(stopped)
    shutil.rmtree(stopped / "checkpoints" / "step-00000006")
    lines = (stopped / "metrics.jsonl").read_text().splitlines(keepends=True)
    (stopped / "metrics.jsonl").write_text("".join(lines[:5]) + '{"step": 6, "lo')
    told.clear()
    launch(*world, config, stopped, on_progress=told.append)
    assert told[0]["resumed_at"] == 4
    assert losses(stopped) == pytest.approx(wanted, rel=1e-6)


@only_soaking  # test_engine.py: adapters, on two ranks, resumed under another stage
def test_adapters_on_a_hugging_face_folder_train_and_resume(
    world: tuple[Path, Path], config: TrainConfig, llama: Path, tmp_path: Path
) -> None:
    model = config.model.model_copy(update={"backbone": str(llama), "lora_rank": 4, "lora_alpha": 8})
    changed = config.model_copy(update={"model": model, "learning_rate": 1e-2})
    folder = launch(*world, changed, tmp_path / "out", on_progress=lambda row: None)
    wanted = losses(tmp_path / "out")
    for adapter in ("memory", "retriever"):  # LoRA's B starts at zero: what is not zero was trained
        trained = [w for name, w in load_file(folder / WEIGHTS).items() if f"lora_B.{adapter}" in name]
        assert trained
        assert all(w.abs().sum() > 0 for w in trained)
    shutil.rmtree(tmp_path / "out" / "checkpoints" / "step-00000006")
    assert launch(*world, changed, tmp_path / "out", on_progress=lambda row: None) == folder
    assert losses(tmp_path / "out") == pytest.approx(wanted, rel=1e-5)
    assert EvoEmbedder.load(folder).session().query("Where?").shape == (24,)


@only_soaking  # test_engine.py: the same on two ranks
def test_loss_that_is_not_a_number_names_the_episodes(
    world: tuple[Path, Path], config: TrainConfig, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(EvoError, match=r"the loss is (nan|inf) at step") as caught:
        launch(*world, config.model_copy(update={"temperature": 1e-45}), tmp_path / "out", on_progress=lambda row: None)
    assert any(q["episode_id"] in str(caught.value) for row in rows for q in row["questions"])
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.slow
def test_gradient_that_is_not_a_number_names_the_episodes(
    world: tuple[Path, Path], config: TrainConfig, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    """The loss is finite, and the squares of its gradient are not."""
    steep = config.model_copy(update={"memory_loss_weight": 1e35})
    with pytest.raises(EvoError, match=r"the gradient's norm is (nan|inf) at step 1, on episodes ep-") as caught:
        launch(*world, steep, tmp_path / "out", on_progress=lambda row: None)
    assert any(q["episode_id"] in str(caught.value) for row in rows for q in row["questions"])
    assert not (tmp_path / "out" / "model").exists()


def test_backbone_with_too_few_positions_is_refused(model: EvoModel, monkeypatch: pytest.MonkeyPatch) -> None:
    config = model.config
    needed = model.capacity + 100 + max(config.batch_segments, model.block - 1) * model.latents
    check_positions(model, 100)
    monkeypatch.setattr(model.backbone.causal.config, "max_position_embeddings", needed)
    check_positions(model, 100)
    with pytest.raises(EvoError, match=f"has {needed:,} positions, and a pass behind .* may take {needed + 1:,}"):
        check_positions(model, 101)


@pytest.mark.slow
def test_lock_that_a_killed_process_left_is_no_hindrance() -> None:
    """torch's lock while it compiles: whoever finds it waits for it to go."""
    script = "import os\nfrom evoembedding.trainer.training.engine import compile_extension\ncompile_extension()\n"
    told = subprocess.run(
        [sys.executable, "-c", f"{script}print(os.environ['TORCH_EXTENSIONS_DIR'])"],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    folder = Path(told.stdout.splitlines()[-1])
    with (folder / "turn").open("w") as turn:  # no other test is to meet it
        fcntl.flock(turn, fcntl.LOCK_EX)
        (left := next(folder.glob("deepspeed_*")) / "lock").touch()
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=120)
    assert not left.exists()


def test_one_process_at_a_time_trains_a_run(world: tuple[Path, Path], config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EvoError, match="by another process"):
            launch(*world, config, tmp_path / "out")


def test_damaged_shards_stop_the_job(world: tuple[Path, Path], config: TrainConfig, tmp_path: Path) -> None:
    shard = sorted(world[0].glob("*.parquet"))[0]
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(EvoError, match=r"shard-00000\.parquet has checksum"):
        launch(*world, config, tmp_path / "out", on_progress=lambda row: None)


def test_ranks_that_do_not_divide_a_step_are_refused(
    world: tuple[Path, Path], config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(EvoError, match=r"3 ranks cannot share the 4 batches .* --batches-per-step 6"):
        launch(*world, config.model_copy(update={"batches_per_step": 4}), tmp_path / "out", nproc=3)
    assert not (tmp_path / "out").exists()

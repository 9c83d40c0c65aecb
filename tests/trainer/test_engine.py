"""Steps, checkpoints and guards on several ranks, under every ZeRO stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.ablations import ablated
from schemas.configs import TrainConfig
from trainer.launch import launch

World = tuple[Path, Path]


def curve(out: Path) -> list[list[float]]:
    """Of each step, what tells one curve from another."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    names = ("step", "loss", "contrastive_loss", "memory_loss", "gradient_norm", "learning_rate", "tokens", "episodes")
    return [[row[name] for name in names] for row in rows]


def train(world: World, config: TrainConfig, out: Path, ranks: int) -> list[list[float]]:
    launch(*world, config, out, nproc=ranks, on_progress=lambda row: None)
    return curve(out)


def same(one: list[list[float]], other: list[list[float]]) -> bool:
    return len(one) == len(other) and all(a == pytest.approx(b, rel=1e-4) for a, b in zip(one, other, strict=True))


@pytest.fixture
def adapters(config: TrainConfig, llama: Path) -> TrainConfig:
    """A frozen backbone with adapters and dropout, four batches a step."""
    model = config.model.model_copy(update={"backbone": str(llama), "lora_rank": 4, "lora_alpha": 8})
    return config.model_copy(update={"model": model, "batches_per_step": 4, "batch_episodes": 2, "learning_rate": 1e-2})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adapters", "tiny", "static"])
def test_two_ranks_give_the_curve_of_one_at_every_zero_stage(
    world: World, config: TrainConfig, adapters: TrainConfig, kind: str, tmp_path: Path
) -> None:
    tiny = config.model_copy(update={"batches_per_step": 4, "batch_episodes": 2, "steps": 4})
    base = {"adapters": adapters, "tiny": tiny, "static": ablated(adapters, "no-memory")}[kind]
    wanted = train(world, base.model_copy(update={"zero_stage": 0}), tmp_path / "one", 1)
    for stage in (0, 1, 2, 3):
        found = train(world, base.model_copy(update={"zero_stage": stage}), tmp_path / f"two-{stage}", 2)
        assert same(found, wanted), stage

"""A small world for the trainer: simulated contexts as shard rows, and a model of two narrow layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import ModelConfig, SimulatorConfig, TrainConfig
from evoembedding.schemas.episode import Draft
from evoembedding.schemas.files import file_digest
from evoembedding.schemas.shard import ShardRow
from evoembedding.synth.simulator import simulate
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer, load_tokenizer, train_tokenizer
from evoembedding.warehouse.shards.shard_sets import MANIFEST, Manifest, ShardFile
from tests.trainer.families import save_family, shard_rows


@pytest.fixture(scope="session")
def drafts() -> list[Draft]:
    return list(simulate(SimulatorConfig(contexts=24, min_segments=10, max_segments=20, questions_per_context=4)))


@pytest.fixture(scope="session")
def tokenizer(drafts: list[Draft]) -> EvoTokenizer:
    return train_tokenizer((s.text for d in drafts for s in d.context.segments), 512)


@pytest.fixture(scope="session")
def rows(drafts: list[Draft], tokenizer: EvoTokenizer) -> list[dict[str, Any]]:
    return shard_rows(drafts, tokenizer)


@pytest.fixture
def config() -> TrainConfig:
    """K 2, C 8: a queue of four segments, so that it runs full."""
    model = ModelConfig(layers=2, hidden=32, heads=2, embedding=24, latents=2, capacity=8)
    return TrainConfig(model=model, steps=6, batch_episodes=4, batch_segments=3, checkpoint_every=2)


@pytest.fixture
def make_model(tokenizer: EvoTokenizer) -> Callable[[TrainConfig], EvoModel]:
    """Models with weights away from their identity start, so that every projection matters."""

    def make(config: TrainConfig) -> EvoModel:
        torch.manual_seed(0)
        made = EvoModel(config, tokenizer.vocabulary).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
        return made

    return make


@pytest.fixture
def model(config: TrainConfig, make_model: Callable[[TrainConfig], EvoModel]) -> EvoModel:
    return make_model(config)


@pytest.fixture(scope="session")
def family_folder(drafts: list[Draft], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of small random models by family, made once."""
    place = tmp_path_factory.mktemp("families")

    @cache
    def make(name: str) -> Path:
        return save_family(name, (s.text for d in drafts for s in d.context.segments), place / name)

    return make


@pytest.fixture(scope="session")
def family_rows(drafts: list[Draft], family_folder: Callable[[str], Path]) -> Callable[[str], list[dict[str, Any]]]:
    """Shard rows of four contexts in a family's tokens."""
    return cache(lambda name: shard_rows(drafts[:4], load_tokenizer(str(family_folder(name)))))


@pytest.fixture
def make_adapted(family_folder: Callable[[str], Path]) -> Callable[..., EvoModel]:
    """Models on a family's backbone, K 2, their weights away from the start; the queue never runs full by default."""

    def make(name: str, config: TrainConfig | None = None, **changes: Any) -> EvoModel:
        shape = {"latents": 2, "capacity": 64, "embedding": 24, "lora_rank": 4, "lora_alpha": 8, "lora_dropout": 0.0}
        model = ModelConfig(**{**shape, "backbone": str(family_folder(name)), **changes})
        config = (config or TrainConfig(batch_segments=3)).model_copy(update={"model": model})
        torch.manual_seed(2)
        made = EvoModel(config, 0)
        with torch.no_grad():  # LoRA's B starts at zero, where A has no gradient yet
            for parameter in made.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        return made.eval()

    return make


@pytest.fixture
def llama(family_folder: Callable[[str], Path]) -> Path:
    """A small causal decoder with random weights, saved as Hugging Face does."""
    return family_folder("llama")


@pytest.fixture
def world_of(tokenizer: EvoTokenizer, tmp_path: Path) -> Callable[[list[dict[str, Any]]], tuple[Path, Path]]:
    """Makes a shard set of rows, ten a file, and a tokenizer folder."""

    def make(rows: list[dict[str, Any]]) -> tuple[Path, Path]:
        folder = tmp_path / "shards-made-here"
        folder.mkdir()
        files = []
        for number, start in enumerate(range(0, len(rows), 10)):
            part = [ShardRow.model_validate(row) for row in rows[start : start + 10]]
            path = folder / f"shard-{number:05d}.parquet"
            to_frame(ShardRow, part).write_parquet(path, row_group_size=4)
            size, digest = path.stat().st_size, file_digest(path)
            files.append(ShardFile(name=path.name, rows=len(part), bytes=size, blake2b=digest))
        manifest = Manifest(
            shard_set_id=folder.name,
            dataset_id="ds-x",
            tokenizer_digest=tokenizer.digest,
            rows=len(rows),
            tokens=sum(row["tokens"] for row in rows),
            files=tuple(files),
        )
        (folder / MANIFEST).write_text(manifest.model_dump_json())
        tokenizer.save(tmp_path / "tokenizer")
        return folder, tmp_path / "tokenizer"

    return make


@pytest.fixture
def world(
    world_of: Callable[[list[dict[str, Any]]], tuple[Path, Path]], rows: list[dict[str, Any]]
) -> tuple[Path, Path]:
    """A shard set and a tokenizer folder."""
    return world_of(rows)


@pytest.fixture
def same_curve() -> Callable[[Path, Path], bool]:
    """Whether two runs have one curve, but for the order in which numbers were added up."""
    names = ("step", "loss", "contrastive_loss", "memory_loss", "gradient_norm", "learning_rate", "tokens", "episodes")

    def curve(out: Path) -> list[list[float]]:
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        return [[row[name] for name in names] for row in rows]

    def same(one: Path, other: Path) -> bool:
        ours, theirs = curve(one), curve(other)
        return len(ours) == len(theirs) and all(
            a == pytest.approx(b, rel=1e-4) for a, b in zip(ours, theirs, strict=True)
        )

    return same

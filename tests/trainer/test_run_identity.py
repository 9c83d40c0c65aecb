"""Ids of runs and memories hold the version of the code: of the first none, so that ids made under it stay."""

from __future__ import annotations

import pytest

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.identity import identity
from evoembedding.schemas.ids import content_id
from evoembedding.trainer import identity as of_training
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model.reader import Reader
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer
from tests.records import shard_set


def test_other_code_is_another_run_and_another_memory(
    model: EvoModel, tokenizer: EvoTokenizer, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_training, "VERSION", 1)
    shards = shard_set("1", "dataset-1")
    run, memory = of_training.training_run_id(shards, config), Reader(model, tokenizer).digest
    settings = identity(config, *of_training.EXECUTION)
    assert run == content_id("run", {"shard_set": shards.shard_set_id, "config": settings})
    monkeypatch.setattr(of_training, "VERSION", 2)
    assert of_training.training_run_id(shards, config) != run
    assert Reader(model, tokenizer).digest != memory

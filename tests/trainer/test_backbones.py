"""A Hugging Face backbone with two adapters: who gets which gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from schemas.configs import ModelConfig, TrainConfig
from schemas.errors import EvoError
from trainer.batches import collate
from trainer.checkpoint import load_model, save_model
from trainer.model import EvoModel
from trainer.text import EvoTokenizer


@pytest.fixture
def adapted(llama: Path, tokenizer: EvoTokenizer) -> EvoModel:
    model = ModelConfig(backbone=str(llama), lora_rank=4, lora_alpha=8, lora_dropout=0.0, capacity=8, embedding=24)
    made = EvoModel(TrainConfig(model=model, batch_segments=3), tokenizer.vocabulary)
    with torch.no_grad():  # LoRA's B starts at zero, where A has no gradient yet
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    return made


def gradient(model: EvoModel, part: str) -> float:
    return sum(float(p.grad.abs().sum()) for n, p in model.named_parameters() if part in n and p.grad is not None)


def test_memory_loss_reaches_the_memory_adapter_only(adapted: EvoModel, rows: list[dict[str, Any]]) -> None:
    batch = collate(rows[:2])
    adapted._answer(adapted.read(batch.memory), batch).backward()
    assert gradient(adapted, ".memory.") > 0
    assert gradient(adapted, ".retriever.") == 0
    assert gradient(adapted, "embedding_projection") == 0
    assert gradient(adapted, "latent_projection") > 0


def test_whole_loss_reaches_both_adapters_and_never_the_backbone(adapted: EvoModel, rows: list[dict[str, Any]]) -> None:
    adapted(collate(rows[:2])).total.backward()
    assert gradient(adapted, ".memory.") > 0
    assert gradient(adapted, ".retriever.") > 0
    frozen = [p for n, p in adapted.named_parameters() if not p.requires_grad]
    assert frozen
    assert all(p.grad is None for p in frozen)
    assert all(p.grad is not None for p in adapted.parameters() if p.requires_grad)


def test_plain_role_is_the_backbone_without_adapters(adapted: EvoModel, llama: Path) -> None:
    ids = torch.tensor([[5, 6, 7]])
    plain = LlamaForCausalLM.from_pretrained(llama).model(ids).last_hidden_state
    positions = torch.arange(3)[None]
    found = adapted.backbone.hidden(adapted.backbone.embed(ids), positions, None, "plain")
    assert torch.allclose(found, plain, atol=1e-5)
    for role in ("memory", "retriever"):
        other = adapted.backbone.hidden(adapted.backbone.embed(ids), positions, None, role)  # type: ignore[arg-type]
        assert not torch.allclose(other, plain, atol=1e-3)


def test_model_folder_holds_the_trained_part_and_loads(
    adapted: EvoModel, tokenizer: EvoTokenizer, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    save_model(adapted, tokenizer, tmp_path / "model")
    loaded, _ = load_model(tmp_path / "model")
    batch = collate(rows[:2])
    with torch.no_grad():
        adapted.eval()
        wanted = adapted.embed_segments(adapted.read(batch.memory), batch.segments)
        assert torch.allclose(loaded.embed_segments(loaded.read(batch.memory), batch.segments), wanted, atol=1e-6)
    backbone = sum(f.stat().st_size for f in Path(adapted.config.model.backbone).glob("*.safetensors"))
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < backbone


def test_unknown_backbone_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EvoError, match="no model for backbone") as caught:
        EvoModel(TrainConfig(model=ModelConfig(backbone=str(tmp_path / "nothing"))), 100)
    assert "\n" not in str(caught.value)

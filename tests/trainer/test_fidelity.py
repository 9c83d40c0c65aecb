"""Every family of backbones against the paper's definition (tests/trainer/reference.py); gradients; ablations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from evoembedding.schemas.ablations import ablated
from evoembedding.schemas.configs import ModelConfig, TrainConfig
from evoembedding.trainer.model.batches import collate
from evoembedding.trainer.model.evo_model import EvoModel
from tests.trainer.families import FAMILIES
from tests.trainer.reference import memory_batches, reference

Adapted = Callable[..., EvoModel]
Rows = Callable[[str], list[dict[str, Any]]]
families = pytest.mark.parametrize("family", FAMILIES)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@families
def test_a_batch_is_each_episode_by_definition(
    family: str, make_adapted: Adapted, family_rows: Rows, family_folder: Callable[[str], Path]
) -> None:
    model, rows = make_adapted(family), family_rows(family)
    plain = AutoModelForCausalLM.from_pretrained(family_folder(family)).eval()
    batch = collate(rows)
    with torch.no_grad():
        history = model.read(batch.memory)
        segments, queries = model.embed(history, batch)
        losses = model(batch)
    wanted = [reference(model, row, plain) for row in rows]
    for b, one in enumerate(wanted):
        scale = float(torch.stack(one.pushed).abs().max())
        assert torch.allclose(history[b, : len(one.pushed)], torch.stack(one.pushed), atol=1e-5 * max(scale, 1))
        assert torch.allclose(segments[b, : len(one.segments)], one.segments, atol=1e-4)
        assert torch.allclose(queries[b, : len(one.queries)], one.queries, atol=1e-4)
    contrastive = mean([loss for one in wanted for loss in one.contrastive])
    memory = mean([loss for one in wanted for loss in one.memory])
    assert float(losses.contrastive) == pytest.approx(contrastive, rel=1e-4)
    assert float(losses.memory) == pytest.approx(memory, rel=1e-4)
    assert float(losses.total) == pytest.approx(contrastive + memory, rel=1e-4)


@families
def test_each_segment_alone_is_within_float_error(family: str, make_adapted: Adapted, family_rows: Rows) -> None:
    """Unpacked, one segment a pass: what is left is the error of float32."""
    model, row = make_adapted(family), family_rows(family)[0]
    batch = collate([row])
    wanted = reference(model, row)
    with torch.no_grad():
        history = model.read(batch.memory)
        K = model.config.model.latents
        for t in range(row["segments"]):
            alone = model.embed_segments(history[:, : (t + 1) * K], batch.segments[t : t + 1], first=t)
            assert torch.allclose(alone[0, 0], wanted.segments[t], atol=1e-5)


@pytest.mark.parametrize("family", ["qwen2", "mistral", "gemma3_text"])
def test_windows_matter(family: str, make_adapted: Adapted, family_rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them the comparison above would fail: the segments are longer than the window."""
    model, row = make_adapted(family), family_rows(family)[0]
    batch, wanted = collate([row]), reference(make_adapted(family), row)
    monkeypatch.setattr("evoembedding.trainer.backbones.decoder.layer_masks", lambda config, mask, *rest: mask)
    with torch.no_grad():
        segments = model.embed_segments(model.read(batch.memory), batch.segments)
    assert not torch.allclose(segments[0], wanted.segments, atol=1e-2)


def reached(model: EvoModel) -> set[str]:
    """The parts of the model that have a gradient."""
    parts = {
        "memory adapter": ".memory.",
        "retriever adapter": ".retriever.",
        "queries": "queries",
        "f_m": "memory_projection",
        "P_lat": "latent_projection",
        "embedding": "embedding_projection",
    }
    named = [(n, p) for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    backbone = (
        {"backbone"} if any(not p.requires_grad or "lora_" not in n for n, p in named if "causal" in n) else set()
    )
    return {part for part, name in parts.items() if any(name in n for n, _ in named)} | backbone


@families
def test_gradients_of_the_answers_reach_the_memory_alone(
    family: str, make_adapted: Adapted, family_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_adapted(family)
    monkeypatch.setattr(
        "evoembedding.trainer.model.evo_model.contrastive_loss", lambda q, v, *rest, **more: (q.sum() + v.sum()) * 0
    )
    model(collate(family_rows(family)[:1])).total.backward()
    assert reached(model) == {"memory adapter", "queries", "f_m", "P_lat"}


@families
def test_gradients_of_the_contrast_reach_both_adapters(family: str, make_adapted: Adapted, family_rows: Rows) -> None:
    model = make_adapted(family, TrainConfig(batch_segments=3, memory_loss_weight=0.0))
    model(collate(family_rows(family)[:1])).total.backward()
    assert reached(model) == {"memory adapter", "retriever adapter", "queries", "f_m", "P_lat", "embedding"}
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def without(name: str, **model: Any) -> TrainConfig:
    """A config with a segment batch of three and one ablation."""
    return ablated(TrainConfig(batch_segments=3, model=ModelConfig(**model)), name)


def test_no_queue_overwrites_the_memory(make_adapted: Adapted, family_rows: Rows) -> None:
    """A memory holds C latents, all from the newest segment, which was read alone with those before it."""
    config = without("no-queue", capacity=4)
    model, row = make_adapted("llama", config, latents=config.model.latents, capacity=4), family_rows("llama")[0]
    batch = collate([row])
    assert config.batch_segments == 1
    wanted = reference(model, row)
    with torch.no_grad():
        history = model.read(batch.memory)
        segments, _ = model.embed(history, batch)
        later = model.embed_segments(history[:, 8:], batch.segments[3:], first=3)  # with the one memory before them
        final = model.embed_queries(history[:, -4:], torch.tensor([1]), batch.queries)
        assert torch.allclose(model.embed_queries(history, batch.totals, batch.queries), final, atol=1e-5)
    assert history.shape[1] == 4 * row["segments"]
    assert torch.allclose(history[0], torch.stack(wanted.pushed), atol=1e-5)
    assert torch.allclose(segments[0], wanted.segments, atol=1e-4)
    assert torch.allclose(later[0], wanted.segments[3:], atol=1e-4)
    assert model.kept(3) == 4
    assert torch.allclose(final[0], wanted.queries, atol=1e-4)


def test_no_memory_loss_does_not_run_the_answer_pass(
    make_adapted: Adapted, family_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, roles = make_adapted("llama", without("no-memory-loss")), set()
    run = model.backbone._run
    monkeypatch.setattr(model.backbone, "_run", lambda *args: roles.add(args[3]) or run(*args))
    losses = model(collate(family_rows("llama")[:1]))
    assert roles == {"memory", "retriever"}
    assert float(losses.total.detach()) == pytest.approx(float(losses.contrastive))


def test_no_length_weight(make_adapted: Adapted, family_rows: Rows) -> None:
    model, rows = make_adapted("llama", without("no-length-weight")), family_rows("llama")
    wanted = mean([loss for row in rows for loss in reference(model, row).contrastive])
    with torch.no_grad():
        assert float(model(collate(rows)).contrastive) == pytest.approx(wanted, rel=1e-4)
        weighted = float(make_adapted("llama")(collate(rows)).contrastive)
    assert weighted > 1.5 * wanted


def test_no_segment_batching_reads_segments_alone(make_adapted: Adapted, family_rows: Rows) -> None:
    model, row = make_adapted("llama", without("no-segment-batching")), family_rows("llama")[0]
    lengths = [len(tokens) for tokens in row["memory_tokens"]]
    assert memory_batches(model, lengths) == [[t] for t in range(len(lengths))]
    with torch.no_grad():
        history = model.read(collate([row]).memory)
        batched = make_adapted("llama").read(collate([row]).memory)
    assert torch.allclose(history[0], torch.stack(reference(model, row).pushed), atol=1e-5)
    assert not torch.allclose(history, batched, atol=1e-2)


def test_no_memory_is_a_static_model(make_adapted: Adapted, family_rows: Rows) -> None:
    config = without("no-memory")
    model, row = make_adapted("llama", config, memory=config.model.memory), family_rows("llama")[0]
    wanted, batch = reference(model, row), collate([row])
    with torch.no_grad():
        history = model.read(batch.memory)
        assert history.shape[1] == 0
        assert torch.allclose(model.embed_segments(history, batch.segments)[0], wanted.segments, atol=1e-4)
        assert torch.allclose(model.embed_queries(history, batch.totals, batch.queries)[0], wanted.queries, atol=1e-4)
    losses = model(batch)
    losses.total.backward()
    assert reached(model) == {"retriever adapter", "f_m", "embedding"}

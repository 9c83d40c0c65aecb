"""The model against the paper's definition (tests/trainer/reference.py), on `tiny`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from evoembedding.schemas.configs import TrainConfig
from evoembedding.trainer.model.batches import collate
from evoembedding.trainer.model.evo_model import EvoModel
from tests.trainer.reference import reference


@pytest.mark.parametrize("capacity", [8, 64])
def test_a_batch_is_each_episode_by_definition(
    config: TrainConfig, make_model: Callable[[TrainConfig], EvoModel], rows: list[dict[str, Any]], capacity: int
) -> None:
    """Rows of unequal lengths in one lock-step batch; a queue of four segments, which runs full, and of 32."""
    model = make_model(config.model_copy(update={"model": config.model.model_copy(update={"capacity": capacity})}))
    some = [rows[0], rows[len(rows) // 2], rows[-1]]
    batch = collate(some)
    with torch.no_grad():
        history = model.read(batch.memory)
        segments, queries = model.embed(history, batch)
        losses = model(batch)
        memory_losses: list[float] = []
        contrastive_losses: list[float] = []
        for b, row in enumerate(some):
            wanted = reference(model, row)
            assert torch.allclose(history[b, : len(wanted.pushed)], torch.stack(wanted.pushed), atol=1e-5)
            assert torch.allclose(segments[b, : len(wanted.segments)], wanted.segments, atol=1e-5)
            assert torch.allclose(queries[b, : len(wanted.queries)], wanted.queries, atol=1e-5)
            memory_losses += wanted.memory
            contrastive_losses += wanted.contrastive
    assert float(losses.memory) == pytest.approx(sum(memory_losses) / len(memory_losses), rel=1e-4)
    assert float(losses.contrastive) == pytest.approx(sum(contrastive_losses) / len(contrastive_losses), rel=1e-4)
    assert float(losses.total) == pytest.approx(float(losses.contrastive) + float(losses.memory), rel=1e-5)


def test_where_packed_rows_are_cut_changes_nothing(
    model: EvoModel, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = collate(rows[-3:])
    with torch.no_grad():
        history = model.read(batch.memory)
        whole = model.embed_segments(history, batch.segments), model.embed_queries(history, batch.totals, batch.queries)
        monkeypatch.setattr("evoembedding.trainer.model.evo_model.ROW_TOKENS", 40)
        monkeypatch.setattr("evoembedding.trainer.model.evo_model.PASS_TOKENS", 90)
        parts = model.embed_segments(history, batch.segments), model.embed_queries(history, batch.totals, batch.queries)
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_every_parameter_takes_part(model: EvoModel, rows: list[dict[str, Any]]) -> None:
    model(collate(rows[:2])).total.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_without_memory_segments_do_not_know_each_other(
    config: TrainConfig, make_model: Callable[[TrainConfig], EvoModel], rows: list[dict[str, Any]]
) -> None:
    off = config.model_copy(update={"model": config.model.model_copy(update={"memory": False})})
    model, batch = make_model(off), collate(rows[:1])
    with torch.no_grad():
        together = model.embed_segments(model.read(batch.memory), batch.segments)
        for t in range(rows[0]["segments"]):
            alone = model.embed_segments(model.read(batch.memory), batch.segments[t : t + 1])
            assert torch.allclose(together[:, t], alone[:, 0], atol=1e-5)
    losses = model(batch)
    losses.total.backward()
    assert float(losses.memory) == 0


def test_a_later_segment_changes_the_query(model: EvoModel, rows: list[dict[str, Any]]) -> None:
    batch = collate(rows[:1])
    T = rows[0]["segments"]
    with torch.no_grad():
        history = model.read(batch.memory)
        queries = [model.embed_queries(history, torch.tensor([t]), batch.queries) for t in (T - 1, T)]
        assert not torch.allclose(queries[0], queries[1], atol=1e-4)

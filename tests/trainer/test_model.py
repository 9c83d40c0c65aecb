"""The model against the paper's definition, one segment at a time with the plainest code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.configs import TrainConfig
from trainer.batches import collate
from trainer.model import BLOCK, EvoModel


def one_pass(model: EvoModel, latents: list[Tensor], tokens: list[int], tail: Tensor | None = None) -> Tensor:
    """Hidden states of `[P_lat(M); x; tail]` by the plain decoder: causal, positions from 0."""
    parts = [model.latent_projection(torch.stack(latents))] if latents else []
    parts.append(model.backbone.embed(torch.tensor(tokens)))
    if tail is not None:
        parts.append(tail)
    inputs = torch.cat(parts)[None]
    return model.backbone.causal.model(inputs_embeds=inputs).last_hidden_state[0]


def beyond(model: EvoModel, pushed: list[Tensor], t: int, tokens: list[int]) -> Tensor:
    """A segment beyond a full queue, alone: each token and each latent sees the C newest latents before it."""
    K, C = model.config.model.latents, model.capacity
    prefix = pushed[max(0, t // BLOCK * BLOCK * K - C) : t * K]
    P, S = len(prefix), len(tokens)
    mask = torch.zeros(P + S, P + S, dtype=torch.bool)
    for i in range(P + S):
        for j in range(i + 1):
            mask[i, j] = j >= P or (i - j < C if i < P else j >= P - C)
    inputs = torch.cat([model.latent_projection(torch.stack(prefix)), model.backbone.embed(torch.tensor(tokens))])
    hidden = model.backbone.causal.model(inputs_embeds=inputs[None], attention_mask=mask[None, None])
    last = F.relu(model.memory_projection(hidden.last_hidden_state[0, -1]))
    return F.normalize(model.embedding_projection(last), dim=-1)


def reference(model: EvoModel, row: dict[str, Any]) -> tuple[list[Tensor], Tensor, Tensor, float]:
    """All latents, segment embeddings [T, E], query embeddings [G, E] and L_mem of one shard row, by definition."""
    K, C = model.config.model.latents, model.capacity
    pushed: list[Tensor] = []
    queue: list[Tensor] = []
    size = model.config.batch_segments
    for start in range(0, row["segments"], size):
        segments = row["memory_tokens"][start : start + size]
        parts = [model.latent_projection(torch.stack(queue))] if queue else []
        ends, length = [], len(queue)
        for tokens in segments:
            parts += [model.backbone.embed(torch.tensor(tokens)), model.queries]
            length += len(tokens) + K
            ends.append(length)
        hidden = model.backbone.causal.model(inputs_embeds=torch.cat(parts)[None]).last_hidden_state[0]
        new = [F.relu(model.memory_projection(hidden[end - K + k])) for end in ends for k in range(K)]
        pushed += new
        queue = (queue + new)[-C:]

    def embed(latents: list[Tensor], tokens: list[int]) -> Tensor:
        last = F.relu(model.memory_projection(one_pass(model, latents, tokens)[-1]))
        return F.normalize(model.embedding_projection(last), dim=-1)

    segments = [
        embed(pushed[: t * K], tokens) if t * K <= C else beyond(model, pushed, t, tokens)
        for t, tokens in enumerate(row["retriever_tokens"])
    ]
    queries = [embed(queue, q["query_tokens"]) for q in row["questions"]]
    losses = []
    for q in row["questions"]:
        tokens = [*q["answer_after"], *q["answer_tokens"]]
        inputs = torch.cat(
            [
                model.backbone.embed(torch.tensor(q["answer_before"])),
                model.latent_projection(torch.stack(queue)),
                model.backbone.embed(torch.tensor(tokens)),
            ]
        )[None]
        logits = model.backbone.causal(inputs_embeds=inputs).logits[0].log_softmax(-1)
        first = inputs.shape[1] - len(q["answer_tokens"])
        losses.append(-sum(logits[first + j - 1, token] for j, token in enumerate(q["answer_tokens"])))
    return pushed, torch.stack(segments), torch.stack(queries), float(torch.stack(losses).mean())


def test_a_batch_is_each_episode_by_definition(model: EvoModel, rows: list[dict[str, Any]]) -> None:
    """Rows of unequal lengths in one lock-step batch; the queue (four segments) runs full."""
    some = [rows[0], rows[len(rows) // 2], rows[-1]]
    batch = collate(some)
    with torch.no_grad():
        history = model.read(batch.memory)
        segments = model.embed_segments(history, batch.segments)
        queries = model.embed_queries(history, batch.totals, batch.queries)
        losses = model(batch)
        memory_losses, questions = [], []
        for b, row in enumerate(some):
            pushed, v, q, memory_loss = reference(model, row)
            assert torch.allclose(history[b, : len(pushed)], torch.stack(pushed), atol=1e-5)
            assert torch.allclose(segments[b, : len(v)], v, atol=1e-5)
            assert torch.allclose(queries[b, : len(q)], q, atol=1e-5)
            memory_losses.append(memory_loss * len(q))
            questions.append(len(q))
    assert float(losses.memory) == pytest.approx(sum(memory_losses) / sum(questions), rel=1e-4)
    assert float(losses.total) == pytest.approx(float(losses.contrastive) + float(losses.memory), rel=1e-5)


def test_where_packed_rows_are_cut_changes_nothing(
    model: EvoModel, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = collate(rows[-3:])
    with torch.no_grad():
        history = model.read(batch.memory)
        whole = model.embed_segments(history, batch.segments), model.embed_queries(history, batch.totals, batch.queries)
        monkeypatch.setattr("trainer.model.ROW_TOKENS", 40)
        monkeypatch.setattr("trainer.model.PASS_TOKENS", 90)
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
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_a_later_segment_changes_the_query(model: EvoModel, rows: list[dict[str, Any]]) -> None:
    batch = collate(rows[:1])
    T = rows[0]["segments"]
    with torch.no_grad():
        history = model.read(batch.memory)
        queries = [model.embed_queries(history, torch.tensor([t]), batch.queries) for t in (T - 1, T)]
        assert not torch.allclose(queries[0], queries[1], atol=1e-4)

"""The model by the paper's definition in the plainest code: lists, one pass without padding at a time, no packing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from evoembedding.trainer.model.evo_model import BLOCK, EvoModel


@dataclass(frozen=True)
class Read:
    """One shard row read: all latents in order, embeddings [T, E] and [G, E], and each question's losses."""

    pushed: list[Tensor]
    segments: Tensor
    queries: Tensor
    contrastive: list[float]
    memory: list[float]


def decode(model: EvoModel, inputs: Tensor, role: str, mask: Tensor | None = None) -> Tensor:
    """Hidden states [S, D] of [S, D] inputs by the Hugging Face model itself, which masks and counts on its own.

    Args:
        mask: [S, S] in place of its own.
    """
    causal = model.backbone.causal
    if model.backbone.adapters:
        causal.set_adapter(role)
    given = None if mask is None else mask[None, None]
    return causal(inputs_embeds=inputs[None], attention_mask=given, output_hidden_states=True).hidden_states[-1][0]


def words(model: EvoModel, tokens: list[int]) -> Tensor:
    """[S, D] token embeddings."""
    return model.backbone.causal.get_input_embeddings()(torch.tensor(tokens))


def memory_batches(model: EvoModel, lengths: list[int]) -> list[list[int]]:
    """Segments that are read together: up to 16 (here `batch_segments`), up to 2,048 tokens, a longer one alone."""
    batches: list[list[int]] = []
    for t, length in enumerate(lengths):
        last = batches[-1] if batches else []
        fits = sum(lengths[i] for i in last) + length <= model.config.batch_tokens
        if last and len(last) < model.config.batch_segments and fits:
            last.append(t)
        else:
            batches.append([t])
    return batches


def read_memory(model: EvoModel, row: dict[str, Any]) -> list[Tensor]:
    """Every latent pushed."""
    K, C = model.config.model.latents, model.capacity
    pushed: list[Tensor] = []
    for batch in memory_batches(model, [len(tokens) for tokens in row["memory_tokens"]]):
        parts = [model.latent_projection(latent[None]) for latent in pushed[-C:]]
        places = []
        for t in batch:
            parts += [words(model, row["memory_tokens"][t]), model.queries]
            end = sum(len(part) for part in parts)
            places += range(end - K, end)
        hidden = decode(model, torch.cat(parts), "memory")
        pushed += [F.relu(model.memory_projection(hidden[place])) for place in places]
    return pushed


def embed(model: EvoModel, queue: list[Tensor], tokens: list[int]) -> Tensor:
    """[E] of `[P_lat(M); x; EOS]`."""
    parts = [model.latent_projection(latent[None]) for latent in queue]
    return embedding(model, decode(model, torch.cat([*parts, words(model, tokens)]), "retriever"))


def embed_beyond(model: EvoModel, pushed: list[Tensor], t: int, tokens: list[int]) -> Tensor:
    """A segment beyond a full queue, alone: each token and each latent sees the C newest latents before it."""
    K, C = model.config.model.latents, model.capacity
    prefix = pushed[max(0, t // BLOCK * BLOCK * K - C) : t * K]
    P, S = len(prefix), len(tokens)
    mask = torch.zeros(P + S, P + S, dtype=torch.bool)
    for i in range(P + S):
        for j in range(i + 1):
            mask[i, j] = j >= P or (i - j < C if i < P else j >= P - C)
    inputs = torch.cat([model.latent_projection(torch.stack(prefix)), words(model, tokens)])
    return embedding(model, decode(model, inputs, "retriever", mask))


def embedding(model: EvoModel, hidden: Tensor) -> Tensor:
    """[E] of the last of the hidden states."""
    return F.normalize(model.embedding_projection(F.relu(model.memory_projection(hidden[-1]))), dim=-1)


def answer_loss(model: EvoModel, plain: Any, queue: list[Tensor], question: dict[str, Any]) -> float:
    """Minus the log probabilities of the answer's tokens, one after the other, by the plain language model."""
    parts = [words(model, question["answer_before"])]
    parts += [model.latent_projection(latent[None]) for latent in queue]
    parts += [words(model, question["answer_after"]), words(model, question["answer_tokens"])]
    scores = plain(inputs_embeds=torch.cat(parts)[None]).logits[0].double().log_softmax(-1)
    first = len(scores) - len(question["answer_tokens"])
    return -math.fsum(float(scores[first + j - 1, token]) for j, token in enumerate(question["answer_tokens"]))


def contrastive_loss(model: EvoModel, query: Tensor, segments: Tensor, evidence: list[int]) -> float:
    """log(N+1)/P * sum_i -log(exp(s_i) / (exp(s_i) + sum_j exp(s_j))), term by term in float64."""
    s = [float(query.double() @ segment.double()) / model.config.temperature for segment in segments]
    against = math.fsum(math.exp(score) for t, score in enumerate(s) if t not in evidence)
    loss = math.fsum(-math.log(math.exp(s[i]) / (math.exp(s[i]) + against)) for i in evidence) / len(evidence)
    return loss * (math.log(len(s) - len(evidence) + 1) if model.config.length_weight else 1)


@torch.no_grad()
def reference(model: EvoModel, row: dict[str, Any], plain: Any = None) -> Read:
    """Read one shard row.

    Args:
        plain: the language model that is to answer, loaded on its own; by default the backbone itself, for `tiny`.
    """
    K, C = model.config.model.latents, model.capacity
    pushed = read_memory(model, row) if model.config.model.memory else []
    segments = [
        embed_beyond(model, pushed, t, tokens)
        if K < C < t * K
        else embed(model, pushed[max(0, t * K - C) : t * K], tokens)
        for t, tokens in enumerate(row["retriever_tokens"])
    ]
    queries = [embed(model, pushed[-C:], q["query_tokens"]) for q in row["questions"]]
    v = torch.stack(segments)
    return Read(
        pushed,
        v,
        torch.stack(queries),
        [contrastive_loss(model, q, v, list(a["evidence"])) for q, a in zip(queries, row["questions"], strict=True)],
        [answer_loss(model, plain or model.backbone.causal, pushed[-C:], q) for q in row["questions"]],
    )

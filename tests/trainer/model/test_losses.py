"""The losses against the paper's formulas, term by term in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from evoembedding.trainer.model.losses import answer_loss, contrastive_loss


def reference(q: torch.Tensor, v: torch.Tensor, positives: list[int], tau: float) -> float:
    """log(N+1)/P * sum_i -log(exp(s_i) / (exp(s_i) + sum_j exp(s_j)))."""
    s = [math.fsum((q * one).tolist()) / tau for one in v]
    negatives = [j for j in range(len(v)) if j not in positives]
    total = 0.0
    for i in positives:
        total -= math.log(math.exp(s[i]) / (math.exp(s[i]) + math.fsum(math.exp(s[j]) for j in negatives)))
    return math.log(len(negatives) + 1) / len(positives) * total


@settings(max_examples=40)
@given(st.integers(0, 1000), st.lists(st.tuples(st.integers(1, 7), st.integers(1, 3)), min_size=1, max_size=4))
def test_contrastive_loss_is_the_formula(seed: int, shape: list[tuple[int, int]]) -> None:
    rng = torch.Generator().manual_seed(seed)
    B, T, G, tau = len(shape), max(t for t, _ in shape), max(g for _, g in shape), 0.1
    v = F.normalize(torch.randn(B, T, 5, generator=rng, dtype=torch.float64), dim=-1)
    q = F.normalize(torch.randn(B, G, 5, generator=rng, dtype=torch.float64), dim=-1)
    evidence = torch.zeros(B, G, T, dtype=torch.bool)
    wanted = []
    for b, (segments, questions) in enumerate(shape):
        for g in range(questions):
            picked = torch.randperm(segments, generator=rng)[: 1 + seed % segments].tolist()
            evidence[b, g, picked] = True
            wanted.append(reference(q[b, g], v[b, :segments], picked, tau))
    present = torch.arange(T) < torch.tensor([t for t, _ in shape])[:, None]
    asked = torch.arange(G) < torch.tensor([g for _, g in shape])[:, None]
    found = contrastive_loss(q, v, evidence, present, asked, tau)
    assert float(found) == pytest.approx(sum(wanted) / len(wanted), rel=1e-9, abs=1e-9)


def test_all_segments_evidence_has_no_loss_and_finite_gradient() -> None:
    q = torch.randn(1, 1, 4, requires_grad=True)
    loss = contrastive_loss(
        q, torch.randn(1, 3, 4), torch.ones(1, 1, 3).bool(), torch.ones(1, 3).bool(), torch.ones(1, 1).bool(), 0.1
    )
    loss.backward()
    assert float(loss) == 0
    assert q.grad is not None
    assert q.grad.isfinite().all()


def test_answer_loss_is_minus_the_sum_of_log_probabilities() -> None:
    logits, targets = torch.randn(5, 7, dtype=torch.float64), torch.tensor([1, 2, 3, 0, 6])
    probabilities = (logits.exp() / logits.exp().sum(-1, keepdim=True)).tolist()
    wanted = -sum(math.log(row[target]) for row, target in zip(probabilities, targets.tolist(), strict=True)) / 2
    assert float(answer_loss(logits, targets, questions=2)) == pytest.approx(wanted)

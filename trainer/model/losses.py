"""The two losses (arXiv 2606.21649, the losses).

Unit vectors, logits and what is evidence come in; each loss goes out as one number, a mean over the questions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(
    queries: Tensor,
    segments: Tensor,
    evidence: Tensor,
    present: Tensor,
    asked: Tensor,
    temperature: float,
    length_weight: bool = True,
) -> Tensor:
    """L_con: positives are the evidence segments, negatives the other segments of the same episode.

    `log(N+1)/P * sum_i -log(exp(s_i/tau) / (exp(s_i/tau) + sum_j exp(s_j/tau)))`, averaged over the questions asked.

    Args:
        queries: [B, G, E] normalised query embeddings.
        segments: [B, T, E] normalised segment embeddings.
        evidence: [B, G, T] True where segment t is evidence of question g.
        present: [B, T] True where the segment exists.
        asked: [B, G] True where the question exists.
        temperature: tau.
        length_weight: False leaves `log(N+1)` out (but for episodes without negatives, which have no loss).
    """
    scores = (queries @ segments.transpose(1, 2)) / temperature  # [B, G, T]
    negative = present[:, None, :] & ~evidence
    # log-sum-exp over the negatives; no negatives gives -inf, and its weight log(0+1) is zero
    against = scores.masked_fill(~negative, float("-inf")).logsumexp(-1, keepdim=True).clamp(min=-1e4)
    each = torch.logaddexp(scores, against) - scores  # -log of the fraction
    positives = evidence.sum(-1).clamp(min=1)
    negatives = negative.sum(-1).to(scores.dtype)
    # The length weight keeps long episodes from counting too little (the paper).
    weight = (negatives.log1p() if length_weight else (negatives > 0).to(scores.dtype)) / positives
    loss = weight * each.masked_fill(~evidence, 0.0).sum(-1)
    return loss.masked_fill(~asked, 0.0).sum() / asked.sum().clamp(min=1)


def answer_loss(logits: Tensor, targets: Tensor, questions: int) -> Tensor:
    """L_mem: minus the sum of the answer tokens' log probabilities, averaged over the questions.

    Args:
        logits: [A, V] for every answer token of the step.
        targets: [A] answer tokens.
        questions: how many answers these tokens belong to.
    """
    # Their sum, as in the paper; the authors' code takes the mean over an answer's tokens.
    return F.cross_entropy(logits, targets, reduction="sum") / max(questions, 1)

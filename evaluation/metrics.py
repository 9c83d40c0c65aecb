"""Retrieval metrics of ranked segments, and bootstrap intervals over conversations.

Ranked indices and gold ones come in; numbers from 0 to 1 go out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 1 << 22  # clusters drawn, 32 MiB of them


def recall(ranked: Sequence[int], gold: Collection[int], k: int) -> float:
    """Share of the gold segments among the first k."""
    return len(set(ranked[:k]) & set(gold)) / len(set(gold))


def ndcg(ranked: Sequence[int], gold: Collection[int], k: int) -> float:
    """Discounted cumulative gain of the first k over that of the best order, binary relevance."""
    gain = sum(1 / math.log2(rank + 2) for rank, index in enumerate(ranked[:k]) if index in gold)
    # Of as many gold segments as k has room for: a perfect order has 1 whatever their number.
    return gain / sum(1 / math.log2(rank + 2) for rank in range(min(len(set(gold)), k)))


def reciprocal_rank(ranked: Sequence[int], gold: Collection[int]) -> float:
    """One over the rank of the first gold segment; 0 when there is none."""
    return next((1 / rank for rank, index in enumerate(ranked, 1) if index in gold), 0.0)


METRICS: dict[str, Callable[[Sequence[int], Collection[int]], float]] = {
    "Recall@1": lambda ranked, gold: recall(ranked, gold, 1),
    "Recall@5": lambda ranked, gold: recall(ranked, gold, 5),
    "Recall@10": lambda ranked, gold: recall(ranked, gold, 10),
    "nDCG@10": lambda ranked, gold: ndcg(ranked, gold, 10),
    "MRR": reciprocal_rank,
}


def bootstrap(
    values: Sequence[float], clusters: Sequence[str], resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of the mean, resampling whole clusters: questions of one conversation are not independent."""
    low, high = np.quantile(resampled(values, clusters, resamples, seed), [0.025, 0.975])
    return float(low), float(high)


def resampled(values: Sequence[float], clusters: Sequence[str], resamples: int, seed: int) -> NDArray[np.float64]:
    """Means [resamples] of the values, each over as many clusters as there are, drawn with replacement."""
    names, of = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(of, weights=np.asarray(values)), np.bincount(of)
    # Of clusters only sums and counts are drawn: no resample of rows is ever built.
    rng, few = np.random.default_rng(seed), max(1, AT_ONCE // len(names))
    means = []
    for start in range(0, resamples, few):
        drawn = rng.integers(0, len(names), (min(few, resamples - start), len(names)))
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    return np.concatenate(means)

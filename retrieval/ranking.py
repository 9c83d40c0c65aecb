"""Scores to an order of segments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rank(scores: NDArray[np.float32], k: int | None = None, seed: int | None = None) -> list[int]:
    """Segment indices of [T] scores, best first: the first k, or all. Of equal scores the earlier segment is first.

    Args:
        seed: equal scores fall in a random order of this seed instead, so that no position gains by them: for
            measuring, where a system that scores everything alike would otherwise be as good as its segments' order.
    """
    if seed is None:
        return [int(i) for i in np.argsort(-scores, kind="stable")[:k]]
    order = np.random.default_rng(seed).permutation(len(scores))
    return [int(i) for i in order[np.argsort(-scores[order], kind="stable")][:k]]

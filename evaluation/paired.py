"""How sure one can be of a mean, or of what two systems differ by: a bootstrap over whole conversations.

Values a question come in, of one system, or of two as differences question by question; an estimate with a lower and an
upper end goes out, each of which holds by itself at a one-sided level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from evoembedding.evaluation.metrics import resampled

RESAMPLES = 10_000  # a level of 5 % shared by a dozen slices is a tail of 0.4 %: 40 of these lie beyond it
_NORMAL = NormalDist()


class Estimate(NamedTuple):
    """A mean, or a difference of means, with its ends: each is missed by the truth in `level` of all samples."""

    value: float
    low: float
    high: float


def estimate(values: Sequence[float], clusters: Sequence[str], level: float = 0.05, seed: int = 0) -> Estimate:
    """The mean of the values with a one-sided end on either side; one of at least two clusters.

    Percentiles of resampled means are too close together where clusters are few, since they take the spread between
    these for known. The level is therefore narrowed to what Student's distribution makes of it (Hesterberg, What
    Teachers Should Know About the Bootstrap, 2015, section 4.2): for ten conversations 5 % become 2.7 %.
    """
    means = resampled(values, clusters, RESAMPLES, seed)
    tail = _narrowed(level, len(set(clusters)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(float(np.mean(values)), float(low), float(high))


def _narrowed(level: float, clusters: int) -> float:
    return _NORMAL.cdf(-math.sqrt(clusters / (clusters - 1)) * _student(1 - level, clusters - 1))


def _student(share: float, freedom: int) -> float:
    """A quantile of Student's distribution, from the normal one (Abramowitz and Stegun, 26.7.5)."""
    z = _NORMAL.inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / freedom**power for power, term in enumerate(terms, 1)))

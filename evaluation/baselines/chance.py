"""A random order: what any system must be better than."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evoembedding.evaluation.baselines.baseline import Baseline
from evoembedding.schemas.episode import Segment
from evoembedding.schemas.ids import digest


class Random:
    """Chance, the same on every run."""

    name = "random"

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """Uniform numbers [queries, segments], seeded by the texts."""
        seed = int(digest([[s.text for s in segments], list(queries)], 8), 16)
        return np.random.default_rng(seed).random((len(queries), len(segments)), dtype=np.float32)


RANDOM = Baseline(Random.name, "a random order, the same on every run", Random)

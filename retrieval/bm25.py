"""Lexical scores of segments: BM25 over stems.

Texts of segments and queries come in; a row of scores a query goes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bm25s
import numpy as np
import Stemmer
from numpy.typing import NDArray

from evoembedding.schemas.episode import Segment


class Bm25:
    """BM25 (Lucene's variant, k1 1.5, b 0.75) with Snowball's English stemmer and stop words."""

    name = "BM25 with stemming"

    def __init__(self) -> None:
        self._stemmer = Stemmer.Stemmer("english")

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """BM25 scores [queries, segments]."""
        # Anew for each conversation: how rare a word is depends on the segments it is among.
        index = bm25s.BM25()
        index.index(self._tokens([s.text for s in segments]), show_progress=False)
        # A query of stop words alone has no token left, and finds nothing.
        rows = [
            index.get_scores(query) if query else np.zeros(len(segments)) for query in self._tokens(queries, ids=False)
        ]
        return np.asarray(rows, dtype=np.float32).reshape(len(queries), len(segments))

    def _tokens(self, texts: Sequence[str], ids: bool = True) -> Any:
        return bm25s.tokenize(list(texts), stopwords="en", stemmer=self._stemmer, return_ids=ids, show_progress=False)

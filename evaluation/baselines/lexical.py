"""Word overlap: what a search engine finds without any model."""

from __future__ import annotations

from evoembedding.evaluation.baselines.baseline import Baseline
from evoembedding.retrieval.bm25 import Bm25

LEXICAL = Baseline(Bm25.name, "word overlap: stems, without stop words", Bm25)

"""Orders by score, with ties as they come and with ties that favour nobody."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evoembedding.evaluation.score import TIES
from evoembedding.retrieval.ranking import rank

SCORES = st.lists(st.integers(0, 3), min_size=1, max_size=30)


@given(SCORES, st.sampled_from([None, TIES, 7]), st.integers(0, 40))
def test_rank_is_a_permutation_by_falling_score(scores: list[int], seed: int | None, k: int) -> None:
    of = np.array(scores, dtype=np.float32)
    ranked = rank(of, seed=seed)
    assert sorted(ranked) == list(range(len(scores)))
    assert [scores[i] for i in ranked] == sorted(scores, reverse=True)
    assert rank(of, k, seed) == ranked[:k]


@given(SCORES)
def test_without_a_seed_the_earlier_of_equals_is_first(scores: list[int]) -> None:
    assert rank(np.array(scores, dtype=np.float32)) == sorted(range(len(scores)), key=lambda i: (-scores[i], i))


def test_with_a_seed_ties_favour_no_position() -> None:
    firsts = {rank(np.zeros(5, dtype=np.float32), seed=seed)[0] for seed in range(60)}
    assert firsts == set(range(5))

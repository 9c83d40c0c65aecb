"""Metrics against plain definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoembedding.evaluation.metrics import METRICS, bootstrap, ndcg, recall, reciprocal_rank

ranking = st.integers(1, 12).flatmap(
    lambda n: st.tuples(st.permutations(range(n)), st.sets(st.integers(0, n - 1), min_size=1), st.integers(1, 12))
)


@given(ranking)
def test_recall_counts_gold_among_the_first_k(case: tuple[list[int], set[int], int]) -> None:
    ranked, gold, k = case
    assert recall(ranked, gold, k) == sum(1 for index in ranked[:k] if index in gold) / len(gold)


@given(ranking)
def test_ndcg_is_one_exactly_for_the_best_order(case: tuple[list[int], set[int], int]) -> None:
    ranked, gold, k = case
    best = sorted(ranked, key=lambda index: index not in gold)
    assert ndcg(best, gold, k) == pytest.approx(1)
    found = ndcg(ranked, gold, k)
    assert 0 <= found <= 1 + 1e-9
    ideal = all(index in gold for index in ranked[: min(len(gold), k)])
    assert (found == pytest.approx(1)) == ideal


def test_worked_example() -> None:
    ranked, gold = [4, 2, 0, 1, 3], {2, 3}
    assert recall(ranked, gold, 2) == 0.5
    assert reciprocal_rank(ranked, gold) == 0.5
    wanted = (1 / math.log2(3) + 1 / math.log2(6)) / (1 + 1 / math.log2(3))
    assert ndcg(ranked, gold, 10) == pytest.approx(wanted)
    assert METRICS["Recall@1"](ranked, gold) == 0


def test_bootstrap_brackets_the_mean_and_respects_clusters() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(400).tolist()
    low, high = bootstrap(values, [str(i) for i in range(400)])
    assert low < np.mean(values) < high
    copied = [v for v in values[:40] for _ in range(10)]
    wide = bootstrap(copied, [str(i // 10) for i in range(400)])
    narrow = bootstrap(copied, [str(i) for i in range(400)])
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    assert bootstrap([0.5, 0.5], ["a", "b"]) == (0.5, 0.5)

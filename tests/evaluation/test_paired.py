"""Estimates on constructed cases, where the truth is known: 200 seeded draws of each."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from evoembedding.evaluation.paired import estimate

DRAWS = 200
MOST = 18  # of 200 at a level of 5 %: more have odds of 1 in 150 where the level holds


class Drawn(NamedTuple):
    """Differences question by question, each 1, 0 or -1, and the conversations that they are of."""

    differences: NDArray[np.float64]
    conversations: list[str]


def draw(seed: int, conversations: int, questions: int, gain: float, together: float) -> Drawn:
    """A tenth of the questions discordant, `gain` more of them won than lost. With a chance of `together`, the
    questions of a conversation are all won, all lost or all alike.
    """
    rng = np.random.default_rng(seed)
    chances = [(0.1 + gain) / 2, 0.9, (0.1 - gain) / 2]
    each = rng.choice([1.0, 0.0, -1.0], size=(conversations, questions), p=chances)
    alike = rng.random(conversations) < together
    each[alike] = each[alike, :1]
    return Drawn(each.ravel(), [str(n // questions) for n in range(conversations * questions)])


def naive(differences: NDArray[np.float64]) -> bool:
    """The paired test over questions, as if each were independent of the others."""
    return bool(differences.mean() > 1.645 * differences.std(ddof=1) / math.sqrt(len(differences)))


def called_better(conversations: int, questions: int, gain: float, together: float) -> tuple[int, int]:
    """By the bootstrap over conversations, and by the test over questions."""
    drawn = [draw(seed, conversations, questions, gain, together) for seed in range(DRAWS)]
    return sum(estimate(*one).low > 0 for one in drawn), sum(naive(one.differences) for one in drawn)


@pytest.mark.parametrize(("conversations", "questions"), [(100, 5), (10, 50), (5, 100)])
def test_an_equal_model_is_called_better_as_seldom_as_the_level_says(conversations: int, questions: int) -> None:
    assert called_better(conversations, questions, gain=0.0, together=0.0)[0] <= MOST


def test_a_gain_of_five_points_is_seen() -> None:
    assert called_better(100, 5, gain=0.05, together=0.0)[0] >= 0.9 * DRAWS


def test_questions_of_one_conversation_are_one_piece_of_evidence() -> None:
    ours, over_questions = called_better(100, 5, gain=0.0, together=1.0)
    assert ours <= MOST
    assert over_questions > 2 * MOST  # where the test over questions takes noise for a gain
    few, over_questions = called_better(20, 25, gain=0.0, together=0.5)
    assert few <= MOST
    assert over_questions > 2 * MOST


def test_a_gain_of_five_points_is_seen_in_conversations_too() -> None:
    """A conversation in ten of one piece; were all so, no test could see it: 100 conversations then say what 100
    questions say.
    """
    assert called_better(100, 5, gain=0.05, together=0.1)[0] >= 0.9 * DRAWS


def test_an_estimate_is_the_mean_between_its_ends_and_the_same_again() -> None:
    one = draw(7, 40, 5, gain=0.05, together=0.5)
    found = estimate(*one)
    assert found.value == pytest.approx(one.differences.mean())
    assert found.low < found.value < found.high
    assert estimate(*one) == found
    strict = estimate(*one, level=0.005)
    assert strict.low < found.low < found.high < strict.high
    assert estimate([0.25, 0.25], ["a", "b"]) == (0.25, 0.25, 0.25)
    halves = estimate(*one, level=0.5)
    assert halves.low == pytest.approx(halves.high)


def test_conversations_count_by_their_questions() -> None:
    """A long one weighs more, as in the mean that is told."""
    values, of = [1.0] * 90 + [0.0] * 10, ["long"] * 90 + [f"short-{n}" for n in range(10)]
    assert estimate(values, of).value == pytest.approx(0.9)
    assert estimate(values, of).low < 0.5  # it may not have been drawn at all

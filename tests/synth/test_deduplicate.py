"""Near-duplicates: what is found, what is kept, and that the estimate is near the truth."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.deduplicate import PERMUTATIONS, NearDuplicates, bands
from synth.text import runs

WORDS = [f"word{n}" for n in range(500)]


def text(rng: random.Random, words: int = 400) -> list[str]:
    return [rng.choice(WORDS) for _ in range(words)]


@pytest.mark.parametrize("changed", [0, 4, 12])
def test_a_text_with_few_words_changed_is_found_with_its_similarity(changed: int) -> None:
    rng = random.Random(changed)
    one = text(rng)
    other = list(one)
    for place in rng.sample(range(len(one)), changed):
        other[place] = "changed"
    kept = NearDuplicates(0.7, words=5)
    assert kept.twin("one", " ".join(one)) is None
    assert kept.twin("apart", " ".join(text(rng))) is None
    twin = kept.twin("other", " ".join(other))
    assert twin is not None
    assert twin.name == "one"
    a, b = runs(" ".join(one), 5), runs(" ".join(other), 5)
    assert abs(twin.similarity - len(a & b) / len(a | b)) < 0.15


def test_what_is_less_similar_is_kept() -> None:
    rng = random.Random(1)
    one = text(rng)
    half = [*one[:200], *text(rng, 200)]
    kept = NearDuplicates(0.8, words=5)
    assert kept.twin("one", " ".join(one)) is None
    assert kept.twin("half", " ".join(half)) is None


def test_case_and_punctuation_do_not_hide_a_duplicate() -> None:
    kept = NearDuplicates(0.9, words=3)
    assert kept.twin("one", "I moved to Porto, in May.") is None
    assert kept.twin("two", "i MOVED to porto in may!") is not None
    assert kept.twin("empty", "") is None
    assert kept.twin("also empty", " . ") is not None


@given(st.floats(0.21, 1))
def test_bands_reach_below_the_threshold(threshold: float) -> None:
    found = bands(threshold)
    assert PERMUTATIONS % found == 0
    assert (1 / found) ** (found / PERMUTATIONS) < threshold


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["a b c d e f", "a b c d e g", "x y z u v w", "", "a b c d e f g h"]), max_size=12))
def test_no_two_kept_texts_are_equal(texts: list[str]) -> None:
    kept = NearDuplicates(0.8, words=3)
    originals = [t for n, t in enumerate(texts) if kept.twin(str(n), t) is None]
    assert len(originals) == len(set(originals))
    assert set(originals) <= set(texts)
    assert bool(originals) == bool(texts)

"""Near-duplicates: what is found, what is kept, and that the estimate is near the truth."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoembedding.synth.curation.deduplicate import CROWD, PERMUTATIONS, NearDuplicates, Twin, bands
from evoembedding.synth.text import normalise

WORDS = [f"word{n}" for n in range(500)]


def text(rng: random.Random, words: int = 400) -> list[str]:
    return [rng.choice(WORDS) for _ in range(words)]


def shingles(words: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1))}


def similarity(one: str, other: str, size: int) -> float:
    a, b = shingles(normalise(one).split(), size), shingles(normalise(other).split(), size)
    return len(a & b) / len(a | b)


def twins(texts: dict[str, str], threshold: float, words: int) -> dict[str, Twin]:
    """Twins of texts that come one at a time, which must make no difference."""
    kept = NearDuplicates(threshold, words)
    for name, one in texts.items():
        kept.add([name], [one])
    return kept.twins()


@pytest.mark.parametrize("changed", [0, 4, 12])
def test_a_text_with_few_words_changed_is_found_with_its_similarity(changed: int) -> None:
    rng = random.Random(changed)
    one = text(rng)
    other = list(one)
    for place in rng.sample(range(len(one)), changed):
        other[place] = "changed"
    texts = {"1 one": " ".join(one), "2 apart": " ".join(text(rng)), "3 other": " ".join(other)}
    found = twins(texts, 0.7, words=5)
    assert list(found) == ["3 other"]
    assert found["3 other"].name == "1 one"
    assert abs(found["3 other"].similarity - similarity(texts["1 one"], texts["3 other"], 5)) < 0.15


def test_what_is_less_similar_is_kept() -> None:
    rng = random.Random(1)
    one = text(rng)
    assert not twins({"one": " ".join(one), "half": " ".join([*one[:200], *text(rng, 200)])}, 0.8, words=5)


def test_case_and_punctuation_do_not_hide_a_duplicate() -> None:
    texts = {"1": "I moved to Porto, in May.", "2": "i MOVED to porto in may!", "3": "", "4": " . "}
    assert {name: twin.name for name, twin in twins(texts, 0.9, words=3).items()} == {"2": "1", "4": "3"}


def test_what_resembles_only_a_text_that_is_left_out_is_kept() -> None:
    # Each shares 85 of 115 words with the next (0.74), the first and the last 70 of 130 (0.54).
    chain = {str(n): " ".join(WORDS[n * 15 : n * 15 + 100]) for n in range(3)}
    found = twins(chain, 0.64, words=1)
    assert {name: twin.name for name, twin in found.items()} == {"1": "0"}


def test_a_crowd_of_equal_texts_leaves_one() -> None:
    size = 3 * CROWD
    kept = NearDuplicates(0.8, words=3)
    kept.add([f"{n:03d}" for n in reversed(range(size))], ["the very same words in every one"] * size)
    found = kept.twins()
    assert len(found) == size - 1
    assert {twin.name for twin in found.values()} == {"000"}


def test_what_comes_first_is_kept_whatever_its_name() -> None:
    kept = NearDuplicates(0.8, words=3)
    kept.add(["a", "b", "c"], ["the very same words in every one"] * 3, first={"c"})
    assert {name: twin.name for name, twin in kept.twins().items()} == {"a": "c", "b": "c"}


def test_nothing_has_no_twins() -> None:
    assert NearDuplicates(0.8, words=3).twins() == {}


@given(st.floats(0.21, 1))
def test_bands_reach_below_the_threshold(threshold: float) -> None:
    found = bands(threshold)
    assert PERMUTATIONS % found == 0
    assert (1 / found) ** (found / PERMUTATIONS) < threshold


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["a b c d e f", "a b c d e g", "x y z u v w", "", "a b c d e f g h"]), max_size=12))
def test_no_two_kept_texts_are_equal(texts: list[str]) -> None:
    found = twins({f"{n:02d}": one for n, one in enumerate(texts)}, 0.8, words=3)
    kept = [one for n, one in enumerate(texts) if f"{n:02d}" not in found]
    assert len(kept) == len(set(kept))
    assert bool(kept) == bool(texts)
    assert all(twin.name < name and twin.name not in found for name, twin in found.items())

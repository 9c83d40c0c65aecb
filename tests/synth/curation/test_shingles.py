"""Runs of words: the same as cutting every text word by word."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from evoembedding.synth.curation.shingles import Words

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=9).map(" ".join)
LETTERS = "ab _.é渡船กข 1"
TEXTS = st.lists(st.one_of(st.text(LETTERS, max_size=40), WORDS), max_size=8)
HASHES = [2093201668586410990, 14102543539599485160]


def cut(words: list[str], size: int) -> list[tuple[str, ...]]:
    """Of scripts without spaces, characters weigh a half or a quarter of a word."""
    weights = [0.5 if "㐀" <= word[0] <= "鿿" else 0.25 if "ก" <= word[0] <= "ฮ" else 1.0 for word in words]
    runs = []
    for i in range(len(words)):
        until = next((j for j in range(i, len(words) + 1) if sum(weights[i:j]) >= size), None)
        if until or i == 0:
            runs.append(tuple(words[i:until]))
    return runs


@settings(deadline=None)
@given(TEXTS, st.integers(1, 6))
def test_runs_are_those_of_each_text_alone(texts: list[str], size: int) -> None:
    words = Words.of(texts)
    runs = words.shingles(size)
    split = pl.Series(texts, dtype=pl.String).str.to_lowercase().str.extract_all(r"[渡船กข]|[abcd_é1]+").to_list()
    expected = [run for one in split for run in cut(one, size)]
    assert len(runs.hashes) == len(expected) == runs.offsets[-1]
    same = {}
    for number, run in enumerate(expected):
        assert same.setdefault(run, runs.hashes[number]) == runs.hashes[number]
        of = next(n for n in range(len(texts)) if runs.offsets[n] <= number < runs.offsets[n + 1])
        assert words.text(int(runs.starts[number]), size, of) == " ".join(run)
    assert len(set(same.values())) == len(same)  # no collision among a few


def test_hashes_are_the_same_everywhere() -> None:
    assert Words.of(["Où est Porto?"]).shingles(2).hashes.tolist() == HASHES

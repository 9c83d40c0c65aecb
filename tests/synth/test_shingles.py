"""Runs of words: the same as cutting every text word by word."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.shingles import Words

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=9).map(" ".join)
TEXTS = st.lists(st.one_of(st.text(max_size=40), WORDS), max_size=8)
HASHES = [2093201668586410990, 14102543539599485160]


def cut(words: list[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1))] if words else []


@settings(deadline=None)
@given(TEXTS, st.integers(1, 6))
def test_runs_are_those_of_each_text_alone(texts: list[str], size: int) -> None:
    words = Words.of(texts)
    runs = words.shingles(size)
    split = pl.Series(texts, dtype=pl.String).str.to_lowercase().str.extract_all(r"\w+").to_list()
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

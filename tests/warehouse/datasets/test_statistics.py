"""Statistics: counted in DuckDB, checked against plain Python; the token estimate is that of `synth.text`."""

from __future__ import annotations

import sys
import unicodedata
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoembedding.synth.text import tokens
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.statistics import (
    APART,
    PAPER,
    TOKEN,
    accepted_under,
    histogram,
    of_version,
    statistics,
)
from evoembedding.warehouse.datasets.versions import EpisodeFilter, episodes_of, publish
from tests.warehouse.world import make_documents, make_partition


def counted(texts: list[str]) -> list[int]:
    """What DuckDB makes of the texts."""
    sql = r"""SELECT len(regexp_extract_all(regexp_replace(text, $apart, ' \1 ', 'g'), $token))
              FROM (SELECT unnest($texts::VARCHAR[]) AS text)"""
    return [n for (n,) in duckdb.execute(sql, {"token": TOKEN, "apart": APART, "texts": texts}).fetchall()]


def test_every_character_that_python_knows_counts_the_same() -> None:
    known = [chr(c) for c in range(1, sys.maxunicode + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    assert counted(known) == [tokens(c) for c in known]


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cn")))))
def test_texts_count_the_same(texts: list[str]) -> None:
    assert counted(texts) == [tokens(text) for text in texts]


def test_a_version_is_counted_as_plain_python_counts_it(
    tmp_path: Path,
) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.append_all({"documents": make_documents(9), **make_partition(0, 12)})
        version = publish(warehouse, "few", "{}", None, EpisodeFilter(generators=("cloze",)))
        warehouse.append_all(make_partition(12, 20))
        found = statistics(warehouse, of_version(version))
        episodes = episodes_of(warehouse, version.dataset_id)
        contexts = warehouse.query("SELECT * FROM contexts WHERE generator = 'cloze' AND seed < 12")
    sizes = [len(segments) for segments in contexts["segments"]]
    words = [sum(tokens(f"{s['user']} {s['assistant']}") for s in segments) for segments in contexts["segments"]]
    assert (found.episodes, found.contexts) == (6, 6)
    assert list(found.figures) == list(PAPER)
    assert found.figures["segments, mean"] == round(sum(sizes) / 6, 2)
    assert found.figures["segments, max"] == max(sizes)
    assert found.figures["tokens, mean"] == round(sum(words) / 6, 2)
    assert found.figures["tokens, max"] == max(words)
    assert found.figures["negatives, mean"] == round((episodes["segments"] - 1).mean(), 2)  # type: ignore[arg-type]
    assert found.figures["question words, 99 %"] == found.figures["question words, mean"] == 3
    assert found.lengths["segments"] == {n: sizes.count(n) for n in sorted(set(sizes))}
    assert found.lengths["evidence"] == {1: 6}
    assert (found.types, found.families, found.generators) == ({"recall": 6}, {"f": 6}, {"cloze": 6})
    assert found.kinds == {"web": 6}
    assert found.licences == {"CC0": 4}  # of doc-0001, 3, 5 and 7: the warehouse lacks the others


def test_a_set_without_episodes_has_no_figures(warehouse: Warehouse) -> None:
    found = statistics(warehouse, accepted_under(["nobody"]))
    assert (found.episodes, found.contexts, found.figures, found.types) == (0, 0, {}, {})


@given(st.dictionaries(st.integers(0, 2000), st.integers(1, 9), min_size=1), st.integers(1, 40))
def test_a_histogram_holds_every_value_once(counts: dict[int, int], bars: int) -> None:
    bins = histogram(counts, bars)
    assert len(bins) <= bars
    assert all(left.high == right.low for left, right in pairwise(bins))
    assert all(b.count == sum(n for v, n in counts.items() if b.low <= v < b.high) for b in bins)
    assert sum(b.count for b in bins) == sum(counts.values())
    assert len({b.high - b.low for b in bins}) == 1


@pytest.mark.parametrize("text", ["", " ", "a\x1fb", "naïve café", "x_1-2", "日本語。", "e\u0301"])
def test_odd_texts(text: str) -> None:
    assert counted([text]) == [tokens(text)]

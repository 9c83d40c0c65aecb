"""What a set of episodes looks like: lengths, types, generators, licences; and the paper's figures beside them.

DuckDB counts how often each length occurs; only those counts, a few thousand numbers for any set, come to Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Record
from evoembedding.schemas.text import UNSPACED
from evoembedding.warehouse.catalog import Warehouse

# EvoTrain-180K (arXiv 2606.21649).
PAPER = {
    "segments, mean": 21.0,
    "segments, max": 246.0,
    "tokens, mean": 1300.0,
    "tokens, max": 10_300.0,
    "negatives, mean": 19.45,
    "question words, mean": 15.59,
    "question words, 99 %": 52.0,
}
# Words and punctuation marks, as `synth.text.tokens` counts them: Python's \w and \s in RE2's classes. They differ in
# characters that Unicode took up after Python's own tables alone. Characters of scripts without spaces are set apart.
_SPACE = r"\s\x0b\x1c-\x1f\x85\p{Z}"
TOKEN = rf"[\p{{L}}\p{{N}}_]+|[^\p{{L}}\p{{N}}_{_SPACE}]"
APART = f"([{UNSPACED}])"
WORD = rf"[^{_SPACE}]+"

# MATERIALIZED, since each is counted several times and texts are to be read once.
_COUNTS = """
WITH chosen AS MATERIALIZED (
    SELECT context_id, generator, question_type, family, segments - len(evidence) AS negatives,
           len(evidence) AS evidence, len(regexp_extract_all(question, $word)) AS words
    FROM lake.episodes WHERE episode_id IN ({among})
), read AS MATERIALIZED (
    SELECT kind, document_ids, len(segments) AS segments,
           coalesce(list_sum(list_transform(segments, lambda s:
               len(regexp_extract_all(regexp_replace(s."user" || ' ' || s.assistant, $apart, ' \1 ', 'g'),
                                      $token)))), 0)::BIGINT AS tokens
    FROM lake.contexts SEMI JOIN chosen USING (context_id)
), used AS (SELECT DISTINCT unnest(document_ids) AS document_id FROM read)
SELECT 'segments' AS measure, segments::VARCHAR AS value, count(*) AS times FROM read GROUP BY ALL
UNION ALL SELECT 'tokens', tokens::VARCHAR, count(*) FROM read GROUP BY ALL
UNION ALL SELECT 'question words', words::VARCHAR, count(*) FROM chosen GROUP BY ALL
UNION ALL SELECT 'evidence', evidence::VARCHAR, count(*) FROM chosen GROUP BY ALL
UNION ALL SELECT 'negatives', negatives::VARCHAR, count(*) FROM chosen GROUP BY ALL
UNION ALL SELECT 'types', question_type, count(*) FROM chosen GROUP BY ALL
UNION ALL SELECT 'families', family, count(*) FROM chosen GROUP BY ALL
UNION ALL SELECT 'generators', generator, count(*) FROM chosen GROUP BY ALL
UNION ALL SELECT 'kinds', kind, count(*) FROM read GROUP BY ALL
UNION ALL SELECT 'licences', license, count(*) FROM lake.documents SEMI JOIN used USING (document_id) GROUP BY ALL
"""


class EpisodeSet(NamedTuple):
    """Episodes to look at: a query of their ids, with its parameters by name."""

    sql: str
    params: dict[str, object]


class Bin(Record):
    """A bar of a histogram: how many values are `low` or more and less than `high`."""

    low: int
    high: int
    count: int


class Statistics(Record):
    """A set's figures by the names of `PAPER` (none where the set is empty), and what it holds.

    `lengths` tells how often each value occurs: 'segments' and 'tokens' a context, 'question words', 'evidence' and
    'negatives' an episode. `types`, `families` and `generators` count episodes, `kinds` contexts, `licences` the
    documents that contexts were made from; the most frequent first.
    """

    episodes: int
    contexts: int
    figures: dict[str, float]
    lengths: dict[str, dict[int, int]]
    types: dict[str, int]
    families: dict[str, int]
    generators: dict[str, int]
    kinds: dict[str, int]
    licences: dict[str, int]


LENGTHS = ("segments", "tokens", "question words", "evidence", "negatives")


def of_version(version: DatasetVersion) -> EpisodeSet:
    """The episodes of a dataset version."""
    sql = "SELECT episode_id FROM lake.dataset_members WHERE dataset_id = $dataset_id"
    return EpisodeSet(sql, {"dataset_id": version.dataset_id})


def accepted_under(fingerprints: Sequence[str]) -> EpisodeSet:
    """The episodes accepted under these verification fingerprints."""
    sql = """SELECT v.episode_id FROM lake.verdicts v WHERE v.check_name = 'all' AND v.passed
             AND list_contains($fingerprints::VARCHAR[], v.fingerprint)"""
    return EpisodeSet(sql, {"fingerprints": list(fingerprints)})


def statistics(warehouse: Warehouse, among: EpisodeSet) -> Statistics:
    """Counts a set of any size inside DuckDB. Tokens are estimated, see `TOKEN`."""
    rows = warehouse.query(
        _COUNTS.format(among=among.sql), {**among.params, "token": TOKEN, "word": WORD, "apart": APART}
    )
    counted: dict[str, dict[str, int]] = {}
    # By value among equals, so that the same set gives the same order.
    for measure, value, times in rows.sort("times", "value", descending=[True, False]).iter_rows():
        counted.setdefault(measure, {})[value] = times
    lengths = {name: dict(sorted((int(v), n) for v, n in counted.get(name, {}).items())) for name in LENGTHS}
    names = {name: counted.get(name, {}) for name in ("types", "families", "generators", "kinds", "licences")}
    return Statistics(
        episodes=sum(lengths["evidence"].values()),
        contexts=sum(lengths["segments"].values()),
        figures=_figures(lengths) if lengths["segments"] else {},
        lengths=lengths,
        **names,
    )


def histogram(counts: dict[int, int], bars: int = 30) -> list[Bin]:
    """The counts of `Statistics.lengths` in at most `bars` bins of one width, empty ones between others included."""
    if not counts:
        return []
    first, last = min(counts), max(counts)
    width = -(-(last - first + 1) // bars)
    # Whole numbers are counted, so a bin is a whole number wide: else some would hold one value more.
    totals = dict.fromkeys(range(first, last + 1, width), 0)
    for value, count in counts.items():
        totals[first + (value - first) // width * width] += count
    return [Bin(low=low, high=low + width, count=count) for low, count in totals.items()]


def _figures(lengths: dict[str, dict[int, int]]) -> dict[str, float]:
    values = (
        _mean(lengths["segments"]),
        max(lengths["segments"]),
        _mean(lengths["tokens"]),
        max(lengths["tokens"]),
        _mean(lengths["negatives"]),
        _mean(lengths["question words"]),
        _quantile(lengths["question words"], 0.99),
    )
    return {name: round(float(value), 2) for name, value in zip(PAPER, values, strict=True)}


def _mean(counts: dict[int, int]) -> float:
    return sum(value * count for value, count in counts.items()) / sum(counts.values())


def _quantile(counts: dict[int, int], share: float) -> int:
    """The least value that at least this share of all values does not exceed; `counts` is in order."""
    wanted, passed = share * sum(counts.values()), 0
    for value, count in counts.items():
        passed += count
        if passed >= wanted:
            return value
    raise AssertionError("the last value is passed at a share of 1")

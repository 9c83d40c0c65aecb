"""What a set of episodes looks like: lengths, question words, types; and the paper's figures to hold them against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from schemas.episode import Record
from warehouse.catalog import Warehouse

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
CONTEXTS_A_READ = 1000


class Statistics(Record):
    """Figures by the names of `PAPER`, and episodes by family and type."""

    episodes: int
    contexts: int
    figures: dict[str, float]
    families: dict[str, int]
    types: dict[str, int]


def statistics(warehouse: Warehouse, verified: Sequence[str], tokens: Callable[[str], int]) -> Statistics:
    """Of the episodes accepted under these verification fingerprints; `tokens` estimates those of a text."""
    rows = warehouse.query(
        """SELECT context_id, question, question_type, family, segments, len(evidence) AS evidence FROM episodes
           WHERE episode_id IN (SELECT v.episode_id FROM verdicts v WHERE v."check" = 'all' AND v.passed
                                AND list_contains(?::VARCHAR[], v.fingerprint))""",
        (list(verified),),
    )
    contexts = sorted(set(rows["context_id"]))
    lengths: list[int] = []
    for start in range(0, len(contexts), CONTEXTS_A_READ):
        read = warehouse.query(
            "SELECT segments FROM contexts WHERE list_contains(?, context_id)",
            (contexts[start : start + CONTEXTS_A_READ],),
        )
        lengths += [sum(tokens(f"{s['user']} {s['assistant']}") for s in context) for context in read["segments"]]
    figures = _figures(rows, pl.Series("tokens", lengths, dtype=pl.Int64)) if contexts else {}
    return Statistics(
        episodes=len(rows),
        contexts=len(contexts),
        figures=figures,
        families=_counts(rows["family"]),
        types=_counts(rows["question_type"]),
    )


def _figures(rows: pl.DataFrame, tokens: pl.Series) -> dict[str, float]:
    of_contexts = rows.unique("context_id")["segments"]
    words = rows["question"].str.split(" ").list.len()
    values = (
        of_contexts.mean(),
        of_contexts.max(),
        tokens.mean(),
        tokens.max(),
        (rows["segments"] - rows["evidence"]).mean(),
        words.mean(),
        words.quantile(0.99),
    )
    return {name: round(float(str(value)), 2) for name, value in zip(PAPER, values, strict=True)}


def _counts(column: pl.Series) -> dict[str, int]:
    table = column.value_counts().sort("count", column.name, descending=[True, False])
    return dict(table.iter_rows())

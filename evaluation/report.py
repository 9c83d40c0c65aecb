"""Score rows as the cells of a table, and as Markdown for artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

OVERALL = ("Recall@1", "Recall@5", "Recall@10", "nDCG@10")
BY_TYPE = "Recall@1"


class ScoreTable(NamedTuple):
    """A row a system, best first: the metrics over all questions, then Recall@1 by type. Column names have two lines
    where they say how many questions are of a type; types without questions have none.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]


def score_table(scores: pl.DataFrame, types: Sequence[str]) -> ScoreTable:
    """Score rows in percent."""
    types = _of_questions(scores, types)
    title = f"{_title(scores)}: percent; by question type {BY_TYPE}"
    return ScoreTable(title, _columns(scores, types), _rows(scores, types))


def markdown_table(scores: pl.DataFrame, types: Sequence[str]) -> str:
    """The same table as Markdown."""
    types = _of_questions(scores, types)
    columns = [column.replace("\n", " ") for column in _columns(scores, types)]
    lines = [columns, ["---"] * len(columns), *_rows(scores, types)]
    return f"{_title(scores)}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _title(scores: pl.DataFrame) -> str:
    """How many questions were asked, and how many could not be."""
    asked = f"{_asked(scores, 'all')} questions"
    # Stored rows tell it; those of `summarise` do not.
    left_out = scores["left_out"].max() if "left_out" in scores.columns else None
    return f"{asked}, {left_out!s} more left out for want of evidence" if left_out else asked


def _of_questions(scores: pl.DataFrame, types: Sequence[str]) -> list[str]:
    """Those types of which there are questions: LoCoMo, and most documents, have none on states."""
    there = set(scores["question_type"])
    return [name for name in types if name in there]


def _columns(scores: pl.DataFrame, types: Sequence[str]) -> list[str]:
    return ["system", *OVERALL, *(f"{name}\n({_asked(scores, name)})" for name in types)]


def _rows(scores: pl.DataFrame, types: Sequence[str]) -> list[list[str]]:
    # The best by the first of the types, not over all: callers name `state` first, which is what memory is for.
    first = types[0] if types else "all"
    systems = (
        scores.filter((pl.col("question_type") == first) & (pl.col("metric") == BY_TYPE))
        .sort("value", "system", descending=[True, False])["system"]
        .to_list()
    )
    return [
        [
            system,
            *(_cell(scores, system, "all", metric) for metric in OVERALL),
            *(_cell(scores, system, name, BY_TYPE) for name in types),
        ]
        for system in systems
    ]


def _asked(scores: pl.DataFrame, name: str) -> int:
    asked = scores.filter(pl.col("question_type") == name)["questions"].max()
    return asked if isinstance(asked, int) else 0


def _cell(scores: pl.DataFrame, system: str, name: str, metric: str) -> str:
    wanted = (pl.col("system") == system) & (pl.col("question_type") == name) & (pl.col("metric") == metric)
    row = scores.filter(wanted)
    return f"{100 * row['value'][0]:.1f}" if len(row) else "-"

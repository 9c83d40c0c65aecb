"""What a report says of a dataset version: its funnel, and its lengths and types beside the paper's.

Rows of the funnel and statistics come in; bars, charts and tables go out, as the template shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from evoembedding.flows.report.charts import Bin, Mark, histogram, number
from evoembedding.warehouse.datasets.statistics import PAPER, Statistics
from evoembedding.warehouse.datasets.statistics import histogram as bins_of

OUTCOMES = ("published", "not in this version", "left out", "rejected")
# By the names of `Statistics.lengths`: the title, and what it counts.
CHARTS = {
    "segments": "Segments a context",
    "tokens": "Tokens a context, estimated",
    "negatives": "Negatives an episode",
    "evidence": "Evidence segments an episode",
    "question words": "Words a question",
}
BARS = 40  # of a histogram
NAMES = 60  # of types, families, licences: the others share a line


@dataclass(frozen=True)
class Part:
    """Questions of one outcome (and check, and reason), with their share of what was drafted."""

    outcome: str
    check: str
    reason: str
    questions: int
    share: float


@dataclass(frozen=True)
class Funnel:
    """What became of a generator's questions: by outcome, and in full."""

    generator: str
    drafted: int
    outcomes: tuple[Part, ...]
    rows: tuple[Part, ...]


@dataclass(frozen=True)
class Chart:
    """A histogram with its title."""

    title: str
    picture: Markup


@dataclass(frozen=True)
class Bar:
    """A name with a count; `share` is of all, `length` of the longest bar, both in percent."""

    name: str
    count: int
    share: float
    length: float


def funnels(rows: pl.DataFrame) -> list[Funnel]:
    """Rows of `warehouse.datasets.overview.version_funnel`, generator by generator; the largest first."""
    found = []
    for (generator,), part in rows.group_by("generator", maintain_order=True):
        drafted = int(part["questions"].sum())
        parts = [
            Part(row["outcome"], row["check_name"], row["reason"], row["questions"], 100 * row["questions"] / drafted)
            for row in part.iter_rows(named=True)
        ]
        by_check = dict(part.group_by("check_name").agg(pl.col("questions").sum()).iter_rows())
        parts.sort(key=lambda p: (OUTCOMES.index(p.outcome), -by_check[p.check], p.check, -p.questions, p.reason))
        sums = {name: sum(p.questions for p in parts if p.outcome == name) for name in OUTCOMES}
        outcomes = tuple(Part(name, "", "", count, 100 * count / drafted) for name, count in sums.items() if count)
        found.append(Funnel(str(generator), drafted, outcomes, tuple(parts)))
    return sorted(found, key=lambda f: (-f.drafted, f.generator))


def charts(found: Statistics) -> list[Chart]:
    """A histogram a length, with the mean of the version and the paper's."""
    drawn = []
    for name, title in CHARTS.items():
        counts = found.lengths.get(name)
        if not counts:
            continue
        here, paper = sum(v * n for v, n in counts.items()) / sum(counts.values()), PAPER.get(f"{name}, mean")
        marks = [Mark("mean", here, "here")] + ([Mark("paper’s mean", paper, "paper")] if paper else [])
        bins = [Bin(b.low, b.high, b.count) for b in bins_of(counts, BARS)]
        label = f"{title}: from {number(min(counts))} to {number(max(counts))}, mean {number(here)}"
        label += f"; the paper’s mean {number(paper)}" if paper else ""
        drawn.append(Chart(title, histogram(bins, marks, label)))
    return drawn


def figures(found: Statistics) -> list[tuple[str, str, str]]:
    """The paper's table, with the figures of the version before it."""
    rows = [("episodes", f"{found.episodes:,}", "184,137")]
    return rows + [(name, f"{value:,.10g}", f"{PAPER[name]:,.10g}") for name, value in found.figures.items()]


def bars(counts: Mapping[str, int], unnamed: str = "unnamed") -> list[Bar]:
    """Counts as bars, the longest first; names beyond `NAMES` share one."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = ordered[NAMES:]
    shown = ordered[:NAMES] + ([(f"{len(rest):,} others", sum(count for _, count in rest))] if rest else [])
    total, longest = sum(counts.values()) or 1, max((count for _, count in shown), default=1)
    return [Bar(name or unnamed, count, 100 * count / total, 100 * count / longest) for name, count in shown]

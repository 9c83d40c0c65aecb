"""What a report says of a model: its training curves, and its scores beside the baselines'.

Rows of metrics and scores come in; curves and tables go out, as the template shows them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from evoembedding.evaluation.benchmarks import BENCHMARKS
from evoembedding.evaluation.metrics import METRICS
from evoembedding.evaluation.report import BY_TYPE
from evoembedding.flows.report.charts import Point, counted, curve, curves, number
from evoembedding.schemas.benchmark import MEMORY_OFF
from evoembedding.synth.taxonomy import STATE_TYPES
from evoembedding.warehouse.catalog import Warehouse

# The curves in sight, with their titles; what else the file holds is folded.
TITLES = {
    "loss": "Loss",
    "contrastive_loss": "Retrieval loss",
    "memory_loss": "Memory loss",
    "learning_rate": "Learning rate",
    "gradient_norm": "Gradient norm",
    "tokens_per_second": "Tokens per second",
}
TYPES = 12  # in sight
ALL = "all"


@dataclass(frozen=True)
class Curve:
    """A chart with its title, and its last value."""

    title: str
    picture: Markup
    last: str


@dataclass(frozen=True)
class Curves:
    """Curves in sight and folded; or, in a sentence, why there is none."""

    shown: tuple[Curve, ...]
    folded: tuple[Curve, ...]
    note: str


@dataclass(frozen=True)
class Score:
    """A mean in percent with its 95 % interval; `role` is model, ablation or baseline."""

    system: str
    role: str
    value: float
    low: float
    high: float
    best: bool = False

    @property
    def short(self) -> str:
        """The name beside that of the model."""
        return "memory off" if self.role == "ablation" else self.system


@dataclass(frozen=True)
class TypeScores:
    """The scores of all systems on one type of question."""

    name: str
    questions: int
    scores: tuple[Score, ...]
    of: tuple[str, ...] = ()  # the types that it gathers, where it is a group of them


class Headline(NamedTuple):
    """A benchmark's overall score of the model, of the same with its memory off, and of the best baseline."""

    benchmark: str
    metric: str
    model: Score | None
    ablation: Score | None
    baseline: Score | None


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's table (a row a system, a score or None a metric), and its scores by type."""

    title: str
    note: str
    questions: int
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Score | None, ...]], ...]
    by: str
    types: tuple[TypeScores, ...]
    folded: tuple[TypeScores, ...]


def training_curves(metrics: Path, stored: Sequence[dict[str, Any]] = ()) -> Curves:
    """The curves of a run folder's metrics file; where it cannot be read, of the rows stored in the warehouse."""
    try:
        with metrics.open(encoding="utf-8", errors="replace") as lines:
            rows, bad = _rows(lines)
    except OSError as error:
        if not stored:
            return Curves((), (), f"There are no training curves: {metrics} cannot be read ({error.strerror}).")
        rows, bad = list(stored), 0
    found = curves(rows)
    if not found:
        return Curves((), (), f"There are no training curves: {metrics} holds no step.")
    drawn = {name: _curve(TITLES.get(name, name.replace("_", " ").capitalize()), of) for name, of in found.items()}
    shown = tuple(drawn[name] for name in TITLES if name in drawn)
    folded = tuple(drawn[name] for name in sorted(drawn) if name not in TITLES)
    note = f"{bad:,} lines of {metrics.name} could not be read and are left out." if bad else ""
    return Curves(shown, folded, note)


def stored_metrics(warehouse: Warehouse, run_id: str) -> list[dict[str, Any]]:
    """A finished run's metrics as the warehouse holds them, a row a step."""
    numbers = warehouse.query(
        "SELECT step, name, value FROM lake.training_metrics WHERE training_run_id = ? ORDER BY step", (run_id,)
    )
    return numbers.pivot("name", index="step", values="value").to_dicts() if len(numbers) else []


def _curve(title: str, points: Sequence[Point]) -> Curve:
    first, last = number(points[0].mean), number(points[-1].mean)
    return Curve(title, curve(points, f"{title} by step, from {first} to {last}"), last)


def _rows(lines: Iterable[str]) -> tuple[list[dict[str, Any]], int]:
    rows, bad = [], 0
    for line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif line.strip():
            bad += 1
    return rows, bad


def benchmarks(scores: Sequence[dict[str, Any]]) -> list[Benchmark]:
    """Evaluation rows, benchmark by benchmark, and where its content changed, content by content."""
    return [_benchmark(rows, newest) for rows, newest in _measured(scores)]


def _measured(scores: Sequence[dict[str, Any]]) -> list[tuple[list[dict[str, Any]], str]]:
    """The rows of each benchmark and content, with the content of that benchmark that was measured last."""
    keys = list(dict.fromkeys((row["benchmark"], row["measured_on"]) for row in scores))
    newest = dict(reversed(keys))  # rows come newest content first: of each benchmark the first key stays
    return [([row for row in scores if (row["benchmark"], row["measured_on"]) == key], newest[key[0]]) for key in keys]


def headline(scores: Sequence[dict[str, Any]]) -> list[Headline]:
    """By benchmark, the overall score of the model, of its memory-off ablation and of the best baseline; of a benchmark
    whose content changed, on what was measured last.
    """
    found = []
    for of_content, newest in _measured(scores):
        name, rows = of_content[0]["benchmark"], [r for r in of_content if r["question_type"] == ALL]
        if of_content[0]["measured_on"] != newest:
            continue
        metric = _metric(rows)
        of = _scores([r for r in rows if r["metric"] == metric])
        # Backwards, so that of several baselines the best, which comes first, stays.
        by_role = {score.role: score for score in reversed(of)}
        found.append(
            Headline(_title(name)[0], metric, *(by_role.get(role) for role in ("model", "ablation", "baseline")))
        )
    return found


def _benchmark(rows: Sequence[dict[str, Any]], newest: str) -> Benchmark:
    title, detail = _title(rows[0]["benchmark"])
    note = " · ".join(filter(None, (detail, _content(rows[0], newest))))
    there = {row["metric"] for row in rows}
    metrics = (*(m for m in METRICS if m in there), *sorted(there - set(METRICS)))
    by = _metric(rows)
    overall = [row for row in rows if row["question_type"] == ALL]
    columns = [{s.system: s for s in _scores([r for r in overall if r["metric"] == m])} for m in metrics]
    order = _scores([r for r in overall if r["metric"] == by])
    table = tuple((s.system, s.role, tuple(column.get(s.system) for column in columns)) for s in order)
    of_types: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["metric"] == by:
            of_types.setdefault(row["question_type"], []).append(row)
    places = {s.system: place for place, s in enumerate(order)}
    types = sorted(
        (
            TypeScores(
                kind,
                max(r["questions"] for r in of),
                tuple(sorted(_scores(of), key=lambda s: places[s.system])),
                STATE_TYPES if kind == "state" else (),
            )
            for kind, of in of_types.items()
            if kind != ALL and all(r["system"] in places for r in of)
        ),
        key=lambda t: (-t.questions, t.name),
    )
    questions = max((row["questions"] for row in overall), default=0)
    return Benchmark(title, note, questions, metrics, table, by, tuple(types[:TYPES]), tuple(types[TYPES:]))


def _content(row: dict[str, Any], newest: str) -> str:
    """What the scores were measured on, and how many questions could not be asked."""
    digest = row["measured_on"]
    notes = [f"measured on {digest[:16]}" if digest else "scored by older code, which did not tell on what content"]
    if digest != newest:
        notes.append("another file's bytes than those scored last: these figures do not compare with those")
    if row["left_out"]:
        notes.append(f"{counted(row['left_out'], 'question')} left out for want of evidence")
    return " · ".join(notes)


def _title(name: str) -> tuple[str, str]:
    short, _, detail = name.partition(":")
    return BENCHMARKS[short].title if short in BENCHMARKS else short, detail  # it may be of other code


def _metric(rows: Sequence[dict[str, Any]]) -> str:
    there = sorted({row["metric"] for row in rows})
    return BY_TYPE if BY_TYPE in there or not there else there[0]


def _scores(rows: Sequence[dict[str, Any]]) -> list[Score]:
    """Of one metric: the model, its ablation, then the baselines, the best first."""
    best = max((row["value"] for row in rows), default=0)
    systems = {row["system"] for row in rows}
    ablations = {name for name in systems if name.endswith(MEMORY_OFF)}
    models = {name.removesuffix(MEMORY_OFF) for name in ablations}
    if not models & systems:  # trained without a memory: there is nothing to switch off
        models, ablations = ablations, set()
    roles = {name: "ablation" if name in ablations else "model" if name in models else "baseline" for name in systems}
    made = [
        Score(r["system"], roles[r["system"]], 100 * r["value"], 100 * r["low"], 100 * r["high"], r["value"] == best)
        for r in rows
    ]
    rank = {"model": 0, "ablation": 1, "baseline": 2}
    return sorted(made, key=lambda s: (rank[s.role], -s.value, s.system))

"""How a gate is shown: a row a rule, and what followed; as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evoembedding.flows.terminal.console import say_table

if TYPE_CHECKING:
    from evoembedding.schemas.dataset import ExpectationRow
    from evoembedding.schemas.registry import GateRow
    from evoembedding.warehouse.registry.gates import Judged


def print_gate(gate: Judged) -> None:
    """A gate as a table, a row a rule."""
    rows = [
        (
            holds(one),
            f"{one.direction.replace('_', ' ')} {one.threshold:g}",
            one.metric,
            one.question_slice,
            _figure(one.value),
            _figure(one.baseline_value),
            f"{one.low:+.3f} to {one.high:+.3f}" if one.low is not None and one.high is not None else "",
            one.questions,
            why(one),
        )
        for one in gate.rows
    ]
    columns = ("holds", "rule", "metric", "slice", "score", "baseline", "interval", "questions", "why")
    say_table(columns, rows, f"{gate.gate_id}: {gate.outcome}", keys=4)


def gate_told(gate: Judged) -> dict[str, Any]:
    """A gate with its rules, for JSON."""
    told = {
        "gate_id": gate.gate_id,
        "outcome": gate.outcome,
        "model_id": gate.model_id,
        "baseline_id": gate.baseline_id,
    }
    return {**told, "rules": [row.model_dump() for row in gate.rows]}


def holds(one: GateRow | ExpectationRow) -> str:
    """In a word whether a rule or an expectation holds; '' where it could not be judged."""
    return "" if one.passed is None else "yes" if one.passed else "no"


def why(one: GateRow | ExpectationRow) -> str:
    """The reason, and whether it is told alone."""
    return one.reason if one.severity == "error" else f"{one.reason} (warn)"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

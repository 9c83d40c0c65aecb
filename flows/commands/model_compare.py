"""The command `evo model compare`: two models side by side, from what is stored. It scores and judges nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evoembedding.flows.commands.gate_table import gate_told, print_gate
from evoembedding.flows.commands.options import MODEL
from evoembedding.flows.settings import state
from evoembedding.flows.terminal import completion
from evoembedding.flows.terminal.console import Json, say, say_json, say_table
from evoembedding.schemas.benchmark import MODEL as SYSTEM

if TYPE_CHECKING:
    import polars as pl

    from evoembedding.warehouse.catalog import Warehouse

Given = Annotated[str, typer.Argument(help=MODEL, autocompletion=completion.models)]
# Of both models, what they scored on the same questions.
_SCORES = """SELECT a.benchmark, a.question_type, a.metric, a.value AS first, b.value AS second, a.questions
    FROM lake.evaluations a JOIN lake.evaluations b USING (benchmark, measured_on, system, question_type, metric)
    WHERE a.model_id = ? AND b.model_id = ? AND a.system = ? ORDER BY a.rowid"""


def compare(first: Given, second: Given, as_json: Json = False) -> None:
    """Show two models side by side: what they were made of, their scores on the same questions, the gate between them.

    Differences of scores may be noise: evo gate tells.
    """
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.gates import gates_of
    from evoembedding.warehouse.registry.labels import model_of

    with Warehouse.open(state()) as warehouse:
        models = [model_of(warehouse, one, "nothing was compared").model_id for one in (first, second)]
        facts = [_facts(warehouse, one) for one in models]
        scores = warehouse.query(_SCORES, (*models, SYSTEM))
        # Either of the two may have been judged against the other.
        between = [g for one in models for g in gates_of(warehouse, one) if {g.model_id, g.baseline_id} == set(models)]
    gate = max(between, key=lambda one: one.rows[0].created_at) if between else None
    if as_json:
        told = {"models": facts, "scores": scores.to_dicts(), "gate": gate and gate_told(gate)}
        say_json(told)
        return
    rows = [
        (key, facts[0].get(key, ""), facts[1].get(key, "")) for key in {**facts[0], **facts[1]} if _differ(key, facts)
    ]
    say_table(("", first, second), rows, "Where they differ")
    if len(scores):
        say_table(("benchmark", "type", "metric", first, second, "questions"), _figures(scores), "Scores", keys=3)
    else:
        say(None, False, "no benchmark has scores of both on the same questions; 'evo evaluate' makes them")
    if gate:
        print_gate(gate)


def _facts(warehouse: Warehouse, model_id: str) -> dict[str, Any]:
    """What a model is, was trained on and with, a setting a line."""
    from evoembedding.warehouse.registry.labels import labels_of

    rows = warehouse.query("SELECT * FROM lake.model_versions WHERE model_id = ?", (model_id,))
    of = rows.row(0, named=True) if len(rows) else {}
    facts = {"model_id": model_id, "named": ", ".join(labels_of(warehouse, model_id))}
    facts |= {
        name: of[name] for name in ("label", "created_at", "steps", "final_loss", "training_run_id") if name in of
    }
    return facts | _flat(json.loads(of.get("config", "{}")))


def _flat(settings: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def _differ(key: str, facts: list[dict[str, Any]]) -> bool:
    return key == "model_id" or facts[0].get(key) != facts[1].get(key)


def _figures(scores: pl.DataFrame) -> list[tuple[object, ...]]:
    return [
        (
            row["benchmark"],
            row["question_type"],
            row["metric"],
            f"{row['first']:.3f}",
            f"{row['second']:.3f}",
            row["questions"],
        )
        for row in scores.iter_rows(named=True)
    ]

"""How what was found under a version's expectations is shown: a row each, and what followed; as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from evoembedding.flows.commands.gate_table import holds, why
from evoembedding.flows.terminal.console import REFUSED, say_table, warn

if TYPE_CHECKING:
    from evoembedding.schemas.dataset import DatasetVersion
    from evoembedding.warehouse.datasets.draft_versions import Judged


def print_expectations(label: str, judged: Judged) -> None:
    """What was found as a table, a row an expectation."""
    rows = [
        (
            holds(one),
            f"{one.direction.replace('_', ' ')}{'' if one.direction == 'only' else f' {one.threshold:g}'}",
            one.measure,
            one.part,
            _figure(one.value),
            _figure(one.parent_value),
            _figure(one.drift),
            why(one),
        )
        for one in judged.rows
    ]
    columns = ("holds", "expectation", "measure", "of", "value", "before", "drift", "why")
    say_table(columns, rows, f"{label}: {judged.state}", keys=4)


def expectations_told(judged: Judged | None) -> dict[str, Any]:
    """The state with what was found, for JSON: '' and nothing where nothing was expected."""
    if judged is None:
        return {"state": "", "expectations": [], "accepted": None}
    accepted = judged.accepted.model_dump() if judged.accepted else None
    return {"state": judged.state, "expectations": [row.model_dump() for row in judged.rows], "accepted": accepted}


def refuse_draft(version: DatasetVersion, judged: Judged | None) -> None:
    """End with exit code 3, and say why, where a version that was just published is a draft."""
    from evoembedding.warehouse.datasets.draft_versions import sentence

    if judged and judged.draft:
        warn(sentence(version, judged, "it was published as such, and nothing is trained on it"))
        raise typer.Exit(REFUSED)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"

"""Writes the index of a home: its datasets, models, gates and decisions on one page, with links to their reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoembedding.flows.report.header import Tile, moment
from evoembedding.flows.report.html import filled, written
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.draft_versions import draft_versions
from evoembedding.warehouse.datasets.versions import list_versions, present_versions, recipe_name
from evoembedding.warehouse.registry.decisions import newest_decisions
from evoembedding.warehouse.registry.gates import newest_gates
from evoembedding.warehouse.registry.labels import names
from evoembedding.warehouse.registry.states import Standing, standings
from evoembedding.warehouse.root import Root

FILE = "index.html"
SHOWN = 100  # gates and decisions, the newest


@dataclass(frozen=True)
class Index:
    """Everything that the template shows, the newest first."""

    home: str
    tiles: list[Tile]
    datasets: list[dict[str, Any]]
    models: list[dict[str, Any]]
    gates: list[dict[str, Any]]
    decisions: list[dict[str, Any]]


def write_index(warehouse: Warehouse, home: Path, output: Path | None = None) -> Path:
    """Write the page to `output`, or to `home/reports`; where it is.

    Raises:
        EvoError: the file cannot be written.
    """
    path = output or home / "reports" / FILE
    written(path, filled("index.html.jinja", gather(warehouse, home, path.parent)))
    if output is None:
        Root.of(home).publish(path)
    return path


def gather(warehouse: Warehouse, home: Path, folder: Path) -> Index:
    """What the page shows; reports that lie in its `folder` are linked."""
    there = {path.stem for path in folder.glob("*.html")}
    named = _named(warehouse)  # asked once: every evaluation writes this page
    datasets, models = _datasets(warehouse, there), _models(warehouse, there, named)
    champions = [row for row in models if "champion" in row["states"]]
    return Index(
        home=home.name,
        tiles=[
            Tile(
                f"{len(datasets):,}", "dataset versions", f"{sum(row['state'] == 'draft' for row in datasets)} drafts"
            ),
            Tile(f"{len(models):,}", "models", f"{len(champions)} in use"),
        ],
        datasets=datasets,
        models=models,
        gates=_gates(warehouse, named),
        decisions=_decisions(warehouse),
    )


def _datasets(warehouse: Warehouse, there: set[str]) -> list[dict[str, Any]]:
    drafts, present = draft_versions(warehouse), present_versions(warehouse)
    return [
        {
            "label": version.label,
            "report": version.label in there,
            "episodes": version.episodes,
            "state": "draft" if version.dataset_id in drafts else "" if version.dataset_id in present else "retired",
            "recipe": recipe_name(version.recipe),
            "parent": version.parent or "",
            "at": moment(version.created_at),
        }
        for version in reversed(list_versions(warehouse))
    ]


def _named(warehouse: Warehouse) -> dict[str, list[Standing]]:
    """The versions that a model is, under each of its names."""
    found: dict[str, list[Standing]] = {}
    for name in names(warehouse):
        for one in standings(warehouse, name):
            found.setdefault(one.version.model_id, []).append(one)
    return found


def _labels(one: Standing) -> list[str]:
    return [one.version.label, *(f"{one.version.name}@{alias}" for alias in one.aliases)]


def _models(warehouse: Warehouse, there: set[str], named: Mapping[str, list[Standing]]) -> list[dict[str, Any]]:
    rows = warehouse.query(
        """SELECT model_id, label, steps, final_loss, created_at FROM lake.model_versions
           ORDER BY created_at DESC, model_id"""
    )
    return [
        {
            "model_id": row["model_id"],
            "report": row["model_id"] in there,
            "names": ", ".join(label for one in named.get(row["model_id"], ()) for label in _labels(one)),
            "states": ", ".join(one.state for one in named.get(row["model_id"], ())),
            "dataset": row["label"],
            "steps": row["steps"],
            "final_loss": row["final_loss"],
            "at": moment(row["created_at"]),
        }
        for row in rows.iter_rows(named=True)
    ]


def _gates(warehouse: Warehouse, named: Mapping[str, list[Standing]]) -> list[dict[str, Any]]:
    # By versions alone: what aliases point to by now was another one then.
    versions = {model_id: found[0].version.label for model_id, found in named.items()}
    return [
        {
            "gate_id": one.gate_id,
            "model": versions.get(one.model_id, one.model_id),
            "against": versions.get(one.baseline_id, one.baseline_id),
            "benchmark": one.rows[0].benchmark,
            "outcome": one.outcome,
            "why": "; ".join(one.failed),
            "at": moment(one.rows[0].created_at),
        }
        for one in newest_gates(warehouse, SHOWN)
    ]


def _decisions(warehouse: Warehouse) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "decision": one.decision,
            "outcome": one.outcome,
            "why": "; ".join(one.reasons),
            "model_id": one.model_id,
            "problem": one.problem,
            "by": one.decided_by,
            "at": moment(one.created_at),
        }
        for one in newest_decisions(warehouse, SHOWN)
    ]

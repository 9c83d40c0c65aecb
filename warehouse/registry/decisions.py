"""Decisions whether a model is trained again, as they are stored: a row as it was taken, and one as it ended."""

from __future__ import annotations

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.retraining import RetrainDecision
from evoembedding.warehouse.catalog import Warehouse


def keep_decision(warehouse: Warehouse, decision: RetrainDecision) -> None:
    """Store a row; one that is there stays as it is."""
    warehouse.append("retrain_decisions", to_frame(RetrainDecision, [decision]))


def decisions(warehouse: Warehouse, name: str) -> list[RetrainDecision]:
    """The decisions about a model's name as they stand, oldest first."""
    rows = warehouse.query("SELECT * FROM lake.retrain_decisions WHERE name = ? ORDER BY sequence, rowid", (name,))
    # By their first rows, each replaced by its later one.
    return list({row["decision_id"]: RetrainDecision(**row) for row in rows.iter_rows(named=True)}.values())


def newest_decisions(warehouse: Warehouse, most: int) -> list[RetrainDecision]:
    """The last decisions about all names as they stand, the newest first; none as of a time before there were any."""
    rows = warehouse.query_known(
        """SELECT * FROM lake.retrain_decisions QUALIFY row_number() OVER (PARTITION BY decision_id
           ORDER BY sequence DESC) = 1 ORDER BY created_at DESC, decision_id LIMIT ?""",
        (most,),
    )
    return [RetrainDecision(**row) for row in rows]


def last_decisions(warehouse: Warehouse) -> list[RetrainDecision]:
    """The last decision about each name as it stands, by name; none as of a time before there were any."""
    rows = warehouse.query_known(
        """SELECT * FROM lake.retrain_decisions QUALIFY row_number() OVER (PARTITION BY name
           ORDER BY created_at DESC, sequence DESC) = 1 ORDER BY name"""
    )
    return [RetrainDecision(**row) for row in rows]


def unfinished(warehouse: Warehouse, name: str, recipe: str) -> RetrainDecision | None:
    """The newest decision to train by a recipe of that name, where it was stopped before it had ended."""
    found = [one for one in decisions(warehouse, name) if one.decision == "retrain" and one.recipe == recipe]
    return found[-1] if found and not found[-1].outcome else None


def tried(warehouse: Warehouse, name: str, situation: str) -> RetrainDecision | None:
    """The decision by which a model was trained of all that there is now, in place of the model in use."""
    found = [one for one in decisions(warehouse, name) if one.situation == situation]
    return next((one for one in reversed(found) if one.outcome not in ("", "failed")), None)

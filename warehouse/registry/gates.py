"""What gates found, as it is stored: a row a rule, all rows of a gate in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.gate import Outcome, outcome
from evoembedding.schemas.registry import GateRow
from evoembedding.warehouse.catalog import Warehouse


class Judged(NamedTuple):
    """A gate that was passed or not, with what it found under each rule."""

    gate_id: str
    rows: tuple[GateRow, ...]

    @property
    def outcome(self) -> Outcome:
        """What follows from the rows."""
        return outcome(self.rows, compared=bool(self.baseline_id))

    @property
    def says(self) -> list[dict[str, object]]:
        """What was found, whenever and for whomever it was."""
        return [row.model_dump(exclude={"gate_id", "decided_by", "created_at"}) for row in self.rows]

    @property
    def failed(self) -> list[str]:
        """Why a model was not blessed: what each rule found that was to hold and did not, or could not be judged."""
        heard = (row for row in self.rows if row.severity == "error" and not row.passed)
        compared = (row for row in heard if self.baseline_id or row.direction == "at_least")
        return [f"{row.metric} on {row.question_slice}: {row.reason}" for row in compared]

    @property
    def model_id(self) -> str:
        return self.rows[0].model_id

    @property
    def baseline_id(self) -> str:
        """What it was compared with; '' for nothing."""
        return self.rows[0].baseline_id


def keep(warehouse: Warehouse, rows: list[GateRow]) -> None:
    """Store a gate's rows; one that is there stays as it is."""
    warehouse.append("gate_rules", to_frame(GateRow, rows))


def gate_of(warehouse: Warehouse, gate_id: str) -> Judged | None:
    """A gate by its id; None where it was not judged yet."""
    return next(iter(_gates(warehouse, "gate_id", gate_id)), None)


def gates_of(warehouse: Warehouse, model_id: str) -> list[Judged]:
    """The gates that a model was put to, oldest first."""
    return _gates(warehouse, "model_id", model_id)


def newest_gates(warehouse: Warehouse, most: int) -> list[Judged]:
    """The last gates of all models, the newest first; none as of a time before there were any."""
    rows = warehouse.query_known(
        """SELECT * FROM lake.gate_rules SEMI JOIN
           (SELECT gate_id FROM lake.gate_rules GROUP BY gate_id ORDER BY max(created_at) DESC, gate_id LIMIT ?)
           USING (gate_id)""",
        (most,),
    )
    return sorted(_grouped(rows), key=lambda one: (-one.rows[0].created_at.timestamp(), one.gate_id))


def deciding(warehouse: Warehouse, model_id: str, champion_id: str) -> Judged | None:
    """The newest gate that compared a model with this champion, which decides; where there is no champion, its newest.

    One that compared it with another model does not count: that is not what it would replace.
    """
    found = [one for one in gates_of(warehouse, model_id) if not champion_id or one.baseline_id == champion_id]
    return found[-1] if found else None


def _gates(warehouse: Warehouse, column: str, identity: str) -> list[Judged]:
    rows = warehouse.query(f"SELECT * FROM lake.gate_rules WHERE {column} = ? ORDER BY rowid", (identity,))  # noqa: S608
    return _grouped(rows.iter_rows(named=True))


def _grouped(rows: Iterable[dict[str, Any]]) -> list[Judged]:
    """The gates of these rows, in the order of their first ones."""
    found: dict[str, list[GateRow]] = {}
    for row in rows:
        found.setdefault(row["gate_id"], []).append(GateRow(**row))
    # Rows of one transaction come in no order of their own.
    return [Judged(gate_id, tuple(sorted(rules, key=lambda row: row.rule))) for gate_id, rules in found.items()]

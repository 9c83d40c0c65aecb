"""What has happened under a name: moves of its aliases and what gates found of its versions, as they came."""

from __future__ import annotations

from typing import Literal

from evoembedding.schemas.episode import Record
from evoembedding.schemas.gate import Outcome
from evoembedding.schemas.moments import Moment
from evoembedding.schemas.registry import CHAMPION, ModelAlias, Move
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.registry.gates import gates_of
from evoembedding.warehouse.registry.labels import list_versions, version_of


class Event(Record):
    """A move of an alias, or a gate, whose `alias` is ''. A promotion whose `gate_id` is '' was forced."""

    created_at: Moment
    what: Move | Outcome | Literal["forced"]
    alias: str
    number: int  # of the version; 0 where an alias points nowhere from then on
    by: str
    reason: str
    gate_id: str


def history(warehouse: Warehouse, name: str) -> list[Event]:
    """Everything under a name, oldest first.

    Raises:
        EvoError: no model has that name.
    """
    name = version_of(warehouse, name).name
    rows = warehouse.query("SELECT * FROM lake.model_aliases WHERE name = ? ORDER BY rowid", (name,))
    events = [_move(ModelAlias(**row)) for row in rows.iter_rows(named=True)]
    for version in list_versions(warehouse, name):
        for gate in gates_of(warehouse, version.model_id):
            first, against = gate.rows[0], f"against {gate.baseline_id}" if gate.baseline_id else "against nothing"
            events.append(
                Event(
                    created_at=first.created_at,
                    what=gate.outcome,
                    alias="",
                    number=version.number,
                    by=first.decided_by,
                    reason="; ".join([against, *gate.failed]),
                    gate_id=gate.gate_id,
                )
            )
    return sorted(events, key=lambda event: event.created_at)


def _move(row: ModelAlias) -> Event:
    forced = row.alias == CHAMPION and row.move == "promoted" and not row.gate_id
    return Event(
        created_at=row.created_at,
        what="forced" if forced else row.move,
        alias=row.alias,
        number=row.number,
        by=row.moved_by,
        reason=row.reason,
        gate_id=row.gate_id,
    )

"""A move of an alias: a row, in the transaction of all that moves with it."""

from __future__ import annotations

from typing import NamedTuple

import duckdb

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.moments import now
from evoembedding.schemas.registry import ModelAlias, Move
from evoembedding.warehouse.catalog import fetch_all, fetch_frame, insert_new


class Why(NamedTuple):
    """What a row says of its move: what it was part of, who did it, why, and the gate that let it through."""

    move: Move
    by: str
    reason: str = ""
    gate_id: str = ""


def move(con: duckdb.DuckDBPyConnection, name: str, alias: str, number: int, why: Why) -> ModelAlias:
    """Point an alias to a version, or with 0 to none; the row that holds, which is the last one where it does already.

    The sequence is read where it is written, in one transaction: two moves at once would take the same number.
    """
    newest = "SELECT * FROM lake.model_aliases WHERE name = ? AND alias = ? ORDER BY sequence DESC LIMIT 1"
    rows = fetch_frame(con, newest, [name, alias])
    last = ModelAlias(**rows.row(0, named=True)) if len(rows) else None
    moved = ModelAlias(
        name=name,
        alias=alias,
        sequence=last.sequence + 1 if last else 1,
        number=number,
        move=why.move,
        moved_by=why.by,
        reason=why.reason,
        gate_id=why.gate_id,
        created_at=now(),
    )
    if number == (last.number if last else 0):
        return last or moved
    insert_new(con, "model_aliases", to_frame(ModelAlias, [moved]))
    return moved


def pointed(con: duckdb.DuckDBPyConnection, name: str, alias: str) -> int:
    """The version that an alias points to; 0 for none."""
    newest = "SELECT number FROM lake.model_aliases WHERE name = ? AND alias = ? ORDER BY sequence DESC LIMIT 1"
    rows = fetch_all(con, newest, [name, alias])
    return int(rows[0][0]) if rows else 0

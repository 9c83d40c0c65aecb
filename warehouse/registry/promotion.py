"""Which version of a name is in use: promotion by a gate or by force, and the way back."""

from __future__ import annotations

from typing import NamedTuple

import duckdb

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.registry import CANDIDATE, CHAMPION, PREVIOUS, RegisteredModel
from evoembedding.warehouse.catalog import Warehouse, fetch_all
from evoembedding.warehouse.registry.gates import deciding
from evoembedding.warehouse.registry.labels import folder_of, list_versions, model_of, version_of
from evoembedding.warehouse.registry.moves import Why, move, pointed


class Promotion(NamedTuple):
    """The champion of a name now, the one before ('' for none), whether that is a change, and by which gate."""

    version: RegisteredModel
    before: str
    new: bool
    gate_id: str = ""


def promote(warehouse: Warehouse, label: str, by: str, reason: str = "", force: bool = False) -> Promotion:
    """Make a version the champion of its name; the champion before becomes `previous`. The newest gate between the two
    has to have blessed it, unless it is by `force`.

    Raises:
        EvoError: there is no such version, its folder is gone, or no gate blessed it.
    """
    version = version_of(warehouse, label)
    folder_of(warehouse, model_of(warehouse, version.model_id), "nothing was promoted")

    def work(con: duckdb.DuckDBPyConnection) -> Promotion:
        before = pointed(con, version.name, CHAMPION)
        if before == version.number:
            return Promotion(version, version.label, False)
        gate_id = _blessing(warehouse, version, before, force)
        why = Why("promoted", by, reason, gate_id)
        move(con, version.name, CHAMPION, version.number, why)
        move(con, version.name, PREVIOUS, before, why)
        if pointed(con, version.name, CANDIDATE) == version.number:
            move(con, version.name, CANDIDATE, 0, why)
        return Promotion(version, f"{version.name}@{before}" if before else "", True, gate_id)

    return warehouse.transaction(work)


def rollback(warehouse: Warehouse, name: str, by: str, reason: str = "") -> Promotion:
    """Make the champion before the champion again; `previous` is then the one before that. A second rollback goes one
    further back, and a promotion undoes one.

    Raises:
        EvoError: no model has that name, it has no champion before, or the folder of that is gone.
    """
    name = version_of(warehouse, name).name
    versions = {version.number: version for version in list_versions(warehouse, name)}

    def work(con: duckdb.DuckDBPyConnection) -> Promotion:
        line = _champions(con, name)
        if len(line) < 2:
            is_now = f"{name}@{line[0]} is its first" if line else "it has none"
            raise EvoError(
                f"model '{name}' has no champion before this one to go back to: {is_now}; nothing was changed; "
                f"'evo model promote {name}@N' makes another version the champion"
            )
        to, last = versions[line[-2]], f"{name}@{line[-1]}"
        folder_of(warehouse, model_of(warehouse, to.model_id), f"{last} stays the champion")
        why = Why("rolled back", by, reason)
        move(con, name, CHAMPION, to.number, why)
        move(con, name, PREVIOUS, line[-3] if len(line) > 2 else 0, why)
        return Promotion(to, last, True)

    return warehouse.transaction(work)


def rolled_back(warehouse: Warehouse, version: RegisteredModel) -> bool:
    """Whether a version was in use until somebody went back from it."""
    moves = "SELECT number, move FROM lake.model_aliases WHERE name = ? AND alias = ? ORDER BY sequence"
    before, back = 0, False
    for number, how in warehouse.query(moves, (version.name, CHAMPION)).iter_rows():
        if before == version.number:
            back = how == "rolled back"
        before = number
    return back and before != version.number


def _champions(con: duckdb.DuckDBPyConnection, name: str) -> list[int]:
    """The line of champions up to the one in use: a promotion adds to it, a rollback takes from it."""
    moves = "SELECT number, move FROM lake.model_aliases WHERE name = ? AND alias = ? ORDER BY sequence"
    line: list[int] = []
    for number, how in fetch_all(con, moves, [name, CHAMPION]):
        if how == "rolled back":
            line.pop()
        else:
            line.append(number)
    return line


def _blessing(warehouse: Warehouse, version: RegisteredModel, champion: int, force: bool) -> str:
    """The id of the gate that lets a version follow the champion; '' where it does so by force."""
    versions = {one.number: one for one in list_versions(warehouse, version.name)}
    model_id = versions[champion].model_id if champion else ""
    gate = deciding(warehouse, version.model_id, model_id)
    if gate and gate.outcome == "blessed":
        return gate.gate_id
    if force:
        return ""
    against = f" against the champion, {version.name}@{champion}" if champion else ""
    if gate is None:
        why = f"no gate has judged {version.label}{against}; nothing was promoted; 'evo gate {version.label}' does"
    else:
        told = "; ".join(gate.failed)
        why = f"gate {gate.gate_id} {gate.outcome} {version.label}{against} ({told}); nothing was promoted"
    raise EvoError(f"{why}; --force --why TEXT promotes it all the same")

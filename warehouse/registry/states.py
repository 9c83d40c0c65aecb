"""What has become of a version, read from its gates and the moves of its name's aliases."""

from __future__ import annotations

from typing import Literal, NamedTuple

from evoembedding.schemas.registry import CHAMPION, PREVIOUS, RegisteredModel
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.registry.gates import Judged, gates_of
from evoembedding.warehouse.registry.labels import aliases, list_versions

# In use; the one before; in use once; or as its newest gate found it: never promoted, and `new` where there was none.
State = Literal["champion", "previous", "replaced", "blessed", "refused", "unjudged", "new"]


class Standing(NamedTuple):
    """A version with its state, the aliases that point to it, and its newest gate."""

    version: RegisteredModel
    state: State
    aliases: tuple[str, ...]
    gate: Judged | None


def standings(warehouse: Warehouse, name: str) -> list[Standing]:
    """Of each version of a name, oldest first."""
    pointing = aliases(warehouse, name)
    moves = "SELECT DISTINCT number FROM lake.model_aliases WHERE name = ? AND alias = ?"
    used = set(warehouse.query(moves, (name, CHAMPION))["number"])
    found = []
    for version in list_versions(warehouse, name):
        own = tuple(alias for alias, number in pointing.items() if number == version.number)
        gate = next(reversed(gates_of(warehouse, version.model_id)), None)
        found.append(Standing(version, _state(own, version.number in used, gate), own, gate))
    return found


def _state(own: tuple[str, ...], used: bool, gate: Judged | None) -> State:
    if CHAMPION in own:
        return "champion"
    if PREVIOUS in own:
        return "previous"
    if used:
        return "replaced"
    return gate.outcome if gate else "new"

"""Aliases of models, such as `support@stable`, that are set and removed by hand."""

from __future__ import annotations

import duckdb

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.registry import CHAMPION, PREVIOUS, ModelAlias
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.registry.labels import version_of
from evoembedding.warehouse.registry.moves import Why, move, pointed
from evoembedding.warehouse.registry.names import check_alias


def set_alias(warehouse: Warehouse, label: str, alias: str, by: str, reason: str = "") -> ModelAlias:
    """Point an alias to a version; one that points there already is left as it is.

    Raises:
        EvoError: there is no such version, or the alias is not allowed or moves by promotion alone.
    """
    _check(alias)
    version = version_of(warehouse, label)
    why = Why("tagged", by, reason)
    return warehouse.transaction(lambda con: move(con, version.name, alias, version.number, why))


def remove_alias(warehouse: Warehouse, name: str, alias: str, by: str, reason: str = "") -> ModelAlias:
    """Let an alias point nowhere.

    Raises:
        EvoError: the name has no such alias, or it moves by promotion alone.
    """
    _check(alias)
    name = version_of(warehouse, name).name
    why = Why("removed", by, reason)

    def work(con: duckdb.DuckDBPyConnection) -> ModelAlias:
        if not pointed(con, name, alias):
            raise EvoError(f"model '{name}' has no alias {alias[:70]!r}; nothing was removed")
        return move(con, name, alias, 0, why)

    return warehouse.transaction(work)


def _check(alias: str) -> None:
    check_alias(alias)
    if alias in (CHAMPION, PREVIOUS):
        raise EvoError(
            f"alias '{alias}' says which model is in use, or was; nothing was changed; 'evo model promote' and 'evo "
            "model rollback' move it"
        )

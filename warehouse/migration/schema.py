"""The schema that a catalog has, and how it comes to that of this code: a step a version, all in one transaction."""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.moments import now
from evoembedding.schemas.text import shown
from evoembedding.warehouse.migration import from_1
from evoembedding.warehouse.row_digests import with_digest
from evoembedding.warehouse.sql.annotate import missing_annotations
from evoembedding.warehouse.sql.views import VIEWS
from evoembedding.warehouse.tables import SCHEMA, TABLES, columns, columns_of, create_statement, missing_columns
from evoembedding.warehouse.transactions import in_transaction

Columns = dict[str, set[str]]  # by table
STEPS: dict[int, Callable[[duckdb.DuckDBPyConnection], None]] = {1: from_1.migrate}  # by the version that they start at


def is_current(con: duckdb.DuckDBPyConnection, name: str, writable: bool = True) -> bool:
    """Whether the attached catalog has all that this code knows. `name` is the warehouse's, for errors.

    Raises:
        EvoError: a newer version of this code has made it; or it is older, and not `writable`.
    """
    there = columns_of(con)
    version = _version(con, there)
    if version > SCHEMA:
        raise EvoError(
            f"warehouse '{name}' has schema {version}, and this code knows {SCHEMA}; nothing was read, since columns "
            "may mean something else by now; use the newer version of this code that made it"
        )
    if not writable and version < SCHEMA:
        raise EvoError(
            f"warehouse '{name}' has schema {version}, and this code reads {SCHEMA}; nothing was read, since it was "
            "opened read-only; 'evo doctor' brings it to that schema"
        )
    return version == SCHEMA and not _missing(con, there)


def bring_up(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Make what the catalog lacks. Killed at any moment it has done nothing; where all is there it does nothing."""
    with in_transaction(con):
        # Asked again under the lock: another process may have done it while this one waited.
        if is_current(con, name):
            return
        version = _version(con, columns_of(con))
        for step in range(version, SCHEMA) if version else ():
            STEPS[step](con)
        there = columns_of(con)
        _refuse_misspelt(there, name)
        for statement in _missing(con, there):
            con.execute(statement)
        if version < SCHEMA:
            row = with_digest("schema_versions", "SELECT ?::BIGINT AS version, ?::TIMESTAMPTZ AS created_at")
            con.execute(f"INSERT INTO lake.schema_versions BY NAME {row}", [SCHEMA, now()])


def _version(con: duckdb.DuckDBPyConnection, there: Columns) -> int:
    """0 where there is no table at all; 1 where there are, without the one that tells."""
    if "schema_versions" not in there:
        return 1 if there else 0
    row = con.execute("SELECT max(version) FROM lake.schema_versions").fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def _refuse_misspelt(there: Columns, name: str) -> None:
    """A name that is missing beside one that nobody knows was changed: to make it anew would hide what it held.

    Raises:
        EvoError: there are such names.
    """
    wanted = {table: set(columns(table)) for table in TABLES}
    tables = (set(there) - set(VIEWS), set(wanted))
    for found, known in (tables, *((there[t], wanted[t]) for t in wanted if t in there)):
        if found and (lost := sorted(known - found)) and (odd := sorted(found - known)):
            raise EvoError(
                f"warehouse '{name}' has no '{lost[0]}', but a '{shown(odd[0], 80)}' that nobody knows: its catalog is "
                "damaged; nothing was read or stored; restore the folder from a copy"
            )


def _missing(con: duckdb.DuckDBPyConnection, there: Columns) -> list[str]:
    """Statements that make what this code knows and the catalog does not."""
    statements: list[str] = []
    for name in TABLES:
        statements += missing_columns(name, there[name]) if name in there else [create_statement(name)]
    return statements + missing_annotations(con)

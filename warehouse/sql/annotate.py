"""Puts comments and views into the catalog, and makes those anew that an older version of this code has left."""

from __future__ import annotations

from functools import cache

import duckdb

from evoembedding.schemas.ids import digest
from evoembedding.warehouse.backend import quoted
from evoembedding.warehouse.sql.comments import column_comment, table_comment
from evoembedding.warehouse.sql.views import VIEWS
from evoembedding.warehouse.tables import TABLES, columns

_COMMENTS = """SELECT table_name, '' AS column_name, comment FROM duckdb_tables() WHERE database_name = 'lake'
    UNION ALL SELECT view_name, '', comment FROM duckdb_views() WHERE database_name = 'lake' AND NOT internal
    UNION ALL SELECT table_name, column_name, comment FROM duckdb_columns() WHERE database_name = 'lake'"""
# DuckDB keeps the whole CREATE VIEW with its semicolon; what is compared is the query in it.
_VIEWS = """SELECT view_name, sql[length('CREATE VIEW ' || view_name || ' AS ') + 1 : -2]
    FROM duckdb_views() WHERE database_name = 'lake' AND NOT internal"""
_SEAL = """SELECT comment FROM duckdb_columns()
    WHERE database_name = 'lake' AND (table_name, column_name) = ('schema_versions', 'version')"""


def missing_annotations(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Statements after which the attached catalog, once its tables are whole, says and shows what this code does.

    One comment ends with the digest of them all and is written last: comparing one by one would take a third of the
    time that opening takes.
    """
    seal = f"{column_comment('schema_versions', 'version')}; comments and views: {_digest()}"
    if con.execute(_SEAL).fetchall() == [(seal,)]:
        return []
    there = {(table, column): comment for table, column, comment in con.execute(_COMMENTS).fetchall()}
    views = dict(con.execute(_VIEWS).fetchall())
    statements: list[str] = []
    for name in TABLES:
        if there.get((name, "")) != table_comment(name):
            statements.append(f"COMMENT ON TABLE lake.{name} IS '{quoted(table_comment(name))}'")
        for column in columns(name):
            comment = column_comment(name, column)
            if there.get((name, column)) != comment:
                statements.append(f"""COMMENT ON COLUMN lake.{name}."{column}" IS '{quoted(comment)}'""")
    for name, view in VIEWS.items():
        if name not in views or _form(con, views[name]) != _form(con, view.query):
            statements.append(f"CREATE OR REPLACE VIEW lake.{name} AS {view.query}")
            there.pop((name, ""), None)  # it goes with the old view
        if there.get((name, "")) != view.comment:
            statements.append(f"COMMENT ON VIEW lake.{name} IS '{quoted(view.comment)}'")
    return [*statements, f"COMMENT ON COLUMN lake.schema_versions.version IS '{quoted(seal)}'"]


@cache
def _digest() -> str:
    """Of all that this code says and shows."""
    of_columns = {f"{name}.{column}": column_comment(name, column) for name in TABLES for column in columns(name)}
    return digest([{name: table_comment(name) for name in TABLES}, of_columns, VIEWS], 5)


def _form(con: duckdb.DuckDBPyConnection, query: str) -> str:
    """A query as DuckDB writes it, whatever its spaces."""
    row = con.execute("SELECT json_deserialize_sql(json_serialize_sql(?))", [query]).fetchone()
    return str(row[0]) if row else ""

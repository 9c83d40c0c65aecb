"""Schema 1 to 2: moments are timestamps, no column is a reserved word, paths are places, keys that were parts of texts
are columns, and each row has a digest.

DuckLake cannot turn texts into timestamps in place, so each table is made anew from the old one.
"""

# ruff: noqa: S608 - what is formatted into statements are constants of ours
from __future__ import annotations

import duckdb
import polars as pl

from evoembedding.schemas.arrow import polars_schema
from evoembedding.warehouse.row_digests import with_digest
from evoembedding.warehouse.tables import TABLES, columns_of, create_statement, default_of, duckdb_type

OLD = "schema_1_"  # before the names of the old tables, while the new ones are filled

# What a column is made of, by table, where it is not the old column of its name. A failure's stage named its
# fingerprint as well, and its item the question type where one question of a taught item had failed.
_TAUGHT = "split_part(stage, ':', 1) IN ('contexts', 'questions', 'evidence', 'verify')"
_BEFORE = """coalesce(TRY(json_extract_string(components, '$."stage before"')), '')"""
# A path of whichever folder the home was in then. One of elsewhere stays, which `evo doctor` tells.
_PLACE = "CASE WHEN ends_with(path, '/' || {inside}) THEN {inside} ELSE path END"
_COLUMNS: dict[str, dict[str, str]] = {
    "verdicts": {"check_name": '"check"'},
    "failures": {
        "stage": "split_part(stage, ':', 1)",
        "fingerprint": "split_part(stage, ':', 2)",
        "item": f"CASE WHEN {_TAUGHT} THEN split_part(item, '/', 1) ELSE item END",
        "question_type": f"CASE WHEN {_TAUGHT} THEN split_part(item, '/', 2) ELSE '' END",
        "retryable": f"{_TAUGHT} AND coalesce(TRY(json_extract_string(payload, '$.retry')) = 'true', false)",
    },
    "fingerprints": {
        "before": _BEFORE,
        "components": f"""CASE WHEN {_BEFORE} = '' THEN components
                          ELSE json_merge_patch(components, '{{"stage before": null}}') END""",
    },
    "outcomes": {"context_id": "coalesce(made.context_id, '')"},
    "shard_sets": {"place": _PLACE.format(inside="'shards/' || shard_set_id")},
    "models": {"place": _PLACE.format(inside="'runs/' || training_run_id || '/model'")},
}
# An outcome's context: of its item's name, under one of the stages that its fingerprint stands on.
_JOINED = {
    "outcomes": f"""LEFT JOIN (
        WITH RECURSIVE line(fingerprint, mark) AS (
            SELECT DISTINCT fingerprint, fingerprint FROM lake.{OLD}outcomes
            UNION SELECT line.fingerprint, {_BEFORE} FROM line JOIN lake.{OLD}fingerprints f ON f.fingerprint = mark),
        named AS (
            SELECT CASE WHEN kind = 'memory' THEN 'memory:' ELSE '' END
                   || CASE WHEN len(document_ids) > 0 THEN 'web:' || document_ids[1] ELSE 'dialogue:' || seed END
                       AS item, fingerprint AS mark, context_id FROM lake.{OLD}contexts)
        SELECT item, line.fingerprint, min(context_id) AS context_id FROM line JOIN named USING (mark) GROUP BY ALL
    ) made USING (item, fingerprint)"""
}


def migrate(con: duckdb.DuckDBPyConnection) -> None:
    """In a transaction: every table in the form of schema 2, with its rows."""
    there = columns_of(con)
    old = [name for name in TABLES if name in there]
    for name in old:
        con.execute(f"ALTER TABLE lake.{name} RENAME TO {OLD}{name}")
    for name in TABLES:
        con.execute(create_statement(name))
    for name in old:
        con.execute(_copy(name, there[name]))
    for name in old:
        con.execute(f"DROP TABLE lake.{OLD}{name}")


def _copy(name: str, there: set[str]) -> str:
    """The statement that fills a table. What an older version of that schema did not know has its default."""
    made = []
    for column, kind in polars_schema(TABLES[name].record).items():
        default = default_of(name, column)
        value = _COLUMNS.get(name, {}).get(column) or (f'"{column}"' if column in there else default)
        if isinstance(kind, pl.List):
            value = f"coalesce({value}, {default})"  # DuckLake had no default for lists
        made.append(f'CAST({value} AS {duckdb_type(kind)}) AS "{column}"')
    joined = f"lake.{OLD}{name} old {_JOINED.get(name, '')} ORDER BY old.rowid"  # which is the order of their making
    rows = f"SELECT {', '.join(made)} FROM {joined}"
    return f"INSERT INTO lake.{name} BY NAME {with_digest(name, rows)}"

"""A digest a row, over all that it says: a row that no longer gives its digest was changed after it was stored.

`Warehouse` computes it as it appends, and hands it out with no row; `evo doctor --deep` computes it again.
"""

from __future__ import annotations

import polars as pl

from evoembedding.schemas.arrow import polars_schema
from evoembedding.warehouse.tables import DIGEST, TABLES, default_of


def digest_of(name: str) -> str:
    """The SQL of the digest of a row of a table, from its other columns.

    It hashes the columns by name, but for those at their default: a column that comes later changes no older row's.
    Moments are microseconds, so that no session's time zone bears on it.
    """
    parts = []
    for column, kind in sorted(polars_schema(TABLES[name].record).items()):
        value = f'epoch_us("{column}")' if isinstance(kind, pl.Datetime) else f'to_json("{column}")'
        default = default_of(name, column)
        says = f'"{column}" IS NOT NULL' if default == "NULL" else f'"{column}" <> {default}'
        parts.append(f"""CASE WHEN {says} THEN '"{column}":' || {value} || ',' END""")
    # The first 64 bits of SHA-256, 8 bytes a row; concat leaves NULL out.
    return f"('0x' || left(sha256(concat('{name}:', {', '.join(parts)})), 16))::UBIGINT"


def with_digest(name: str, rows: str) -> str:
    """The query of rows of a table, with their digests."""
    return f"SELECT *, {digest_of(name)} AS {DIGEST} FROM ({rows})"  # noqa: S608


def changed(name: str, most: int) -> str:
    """The query of the rows of a table that do not give their digest: how many, and the keys of at most `most`."""
    key = " || ' ' || ".join(f"""coalesce("{column}"::VARCHAR, '?')""" for column in TABLES[name].key)
    return f"""SELECT count(*) AS rows, coalesce(min(key, {most}), []) AS keys FROM (
        SELECT {key} AS key FROM lake.{name} WHERE {DIGEST} IS DISTINCT FROM {digest_of(name)})"""  # noqa: S608

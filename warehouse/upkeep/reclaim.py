"""Reclaim: which of the lake's files no snapshot needs any more, and their removal.

Snapshots to keep and tables that lost rows come in; counts of snapshots, files and bytes go out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from evoembedding.schemas.episode import Record
from evoembedding.warehouse.catalog import Warehouse, fetch_all

_FILES = """SELECT count(*), coalesce(sum(file_size_bytes), 0)::BIGINT FROM (
    SELECT file_size_bytes FROM __ducklake_metadata_lake.ducklake_data_file
    UNION ALL SELECT file_size_bytes FROM __ducklake_metadata_lake.ducklake_delete_file)"""
# Of each file: its bytes, the share of them that no state of the lake needs from now on, and whether a past one does.
_RECLAIMABLE = """WITH files AS (
    SELECT parse_filename(path) AS name, begin_snapshot, coalesce(end_snapshot, $current + 1) AS ended,
           end_snapshot IS NOT NULL AS past, file_size_bytes AS bytes, record_count AS rows
    FROM __ducklake_metadata_lake.ducklake_data_file)
SELECT bytes, CASE WHEN past THEN 1.0 WHEN live IS NULL THEN 0.0 WHEN going >= live THEN 1.0
              ELSE going / rows END AS share,
       len(list_filter($past::BIGINT[], lambda s: s >= begin_snapshot AND s < ended)) > 0 AS held
FROM files LEFT JOIN (SELECT unnest($names::VARCHAR[]) AS name, unnest($live::BIGINT[]) AS live,
                             unnest($going::BIGINT[]) AS going) USING (name)"""


class Reclaimed(Record):
    """Snapshots, files and bytes that go (before, bytes are an estimate). `held` bytes go later: past states of the
    lake, of versions that stay, have them.
    """

    snapshots: int
    files: int
    bytes: int
    held: int = 0


def reclaimable(
    con: duckdb.DuckDBPyConnection, going: Mapping[str, str], bound: dict[str, Any], past: Sequence[int]
) -> Reclaimed:
    """What `reclaim` would free once the rows `going` (conditions by table) are deleted. `past` snapshots stay."""
    names: list[str] = []
    live: list[int] = []
    leaving: list[int] = []
    for table, where in going.items():
        counted = con.execute(
            f"""SELECT parse_filename(filename), count(*), count(*) FILTER ({where}) FROM lake.{table}
                GROUP BY filename""",  # noqa: S608
            bound if "$retired" in where else {},
        ).fetchall()
        for name, all_rows, of_it in counted:
            names.append(name)
            live.append(all_rows)
            leaving.append(of_it)
    rows = con.execute(
        _RECLAIMABLE,
        {"past": list(past), "names": names, "live": live, "going": leaving, "current": _current(con)},
    ).fetchall()
    freed = [(size, share) for size, share, held in rows if not held and (share == 1 or not past)]
    return Reclaimed(
        snapshots=len(_unneeded(con, past)),
        files=sum(share == 1 for _, share in freed),
        bytes=round(sum(size * share for size, share in freed)),
        held=round(sum(size * share for size, share, _ in rows) - sum(size * share for size, share in freed)),
    )


def reclaim(warehouse: Warehouse, tables: Sequence[str], past: Sequence[int]) -> Reclaimed:
    """Expire all snapshots but `past` and the current one, and delete the files that none of these needs.

    `tables` are those that lost rows: their files are written again without them, unless past states need the old
    files anyway, so that both would be kept.
    """
    before = warehouse.query(_FILES).row(0)

    def rewrite(con: duckdb.DuckDBPyConnection) -> None:
        for table in tables:
            # 0.0: every file that lost a row; by default DuckLake waits until 95 % of one are gone.
            con.execute("CALL ducklake_rewrite_data_files('lake', ?, delete_threshold => 0.0)", [table])

    def expire(con: duckdb.DuckDBPyConnection) -> int:
        unneeded = _unneeded(con, past)
        if unneeded:
            con.execute("CALL ducklake_expire_snapshots('lake', versions => ?)", [unneeded])
        return len(unneeded)

    if not past:
        warehouse.transaction(rewrite)
    # In this order: only what no snapshot holds any more is there to be cleaned up.
    snapshots = warehouse.transaction(expire)
    warehouse.transaction(lambda con: con.execute("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)"))
    after = warehouse.query(_FILES).row(0)
    return Reclaimed(snapshots=snapshots, files=before[0] - after[0], bytes=before[1] - after[1])


def _current(con: duckdb.DuckDBPyConnection) -> int:
    return int(fetch_all(con, "SELECT id FROM lake.current_snapshot()")[0][0])


def _unneeded(con: duckdb.DuckDBPyConnection, past: Sequence[int]) -> list[int]:
    there = [row[0] for row in fetch_all(con, "SELECT snapshot_id FROM ducklake_snapshots('lake')")]
    return sorted(set(there) - {*past, max(there)})

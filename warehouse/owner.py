"""Who may delete in a root that is not under the state folder: the one warehouse that owns it.

A home with its data in S3 that was copied shares these data with the original, whose catalog goes on without it: to
the copy, all that the original makes from then on looks left behind. So the data say which catalog owns them, by where
that lies, and a catalog in PostgreSQL says where its data are. A copy, or a home that was moved, differs from that.
"""

from __future__ import annotations

import hashlib
import os
from glob import escape

import duckdb

from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.backend import Backend, quoted

MARKER = "owner"  # beside the data in S3
_PATH = "__ducklake_metadata_lake.ducklake_metadata"  # holds the path of the data that a catalog is of


def check_owner(con: duckdb.DuckDBPyConnection, backend: Backend) -> None:
    """Let only the owner of shared data delete in them.

    Raises:
        EvoError: another warehouse owns them, or nothing says which one does.
    """
    if not is_owner(con, backend):
        raise EvoError(
            f"the data at '{backend.data_path}' may be another warehouse's, since this one is a copy, or was moved; "
            "nothing was removed; if no other needs them, say 'evo doctor --take-over' and rerun"
        )


def is_owner(con: duckdb.DuckDBPyConnection, backend: Backend) -> bool:
    """Whether data and catalog are both under the state folder, or what is kept where they are names this warehouse."""
    if not backend.data:
        return not backend.catalog or recorded_path(con) == backend.recorded_path
    marker = f"{backend.data_path}{MARKER}"
    if not con.execute("SELECT 1 FROM glob(?)", [escape(marker)]).fetchone():
        return False
    row = con.execute("SELECT content FROM read_text(?)", [escape(marker)]).fetchone()
    return row is not None and row[0].strip() == _lies(backend)


def take_over(con: duckdb.DuckDBPyConnection, backend: Backend) -> None:
    """Make this warehouse the owner of its data; one that owned them before deletes there no more."""
    if backend.data:
        marker = quoted(f"{backend.data_path}{MARKER}")
        # By DuckDB, which has the keys and the endpoint of S3 already.
        con.execute(f"COPY (SELECT '{_lies(backend)}') TO '{marker}' (FORMAT csv, HEADER false)")
    con.execute(f"UPDATE {_PATH} SET value = ? WHERE key = 'data_path'", [backend.recorded_path])  # noqa: S608


def recorded_path(con: duckdb.DuckDBPyConnection) -> str:
    """Where the catalog says that its data are."""
    row = con.execute(f"SELECT value FROM {_PATH} WHERE key = 'data_path'").fetchone()  # noqa: S608
    return str(row[0]) if row else ""


def _lies(backend: Backend) -> str:
    """Where a catalog lies, as a hash. A copy differs, also one that was put in the original's place."""
    if backend.catalog:
        where = backend.database()
    else:
        folder = backend.folder.resolve()
        where = f"{folder} {folder.stat().st_ino} {os.statvfs(folder).f_fsid}"  # st_dev differs after a restart
    return hashlib.blake2b(where.encode(errors="surrogateescape"), digest_size=16).hexdigest()

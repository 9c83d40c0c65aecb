"""Transactions on a connection to the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb


@contextmanager
def in_transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what is done here, or nothing of it."""
    con.execute("BEGIN TRANSACTION")
    try:
        yield
        con.execute("COMMIT")
    except BaseException:
        con.interrupt()  # what Ctrl-C has broken off may go on inside of DuckDB, and the rollback would wait for it
        with suppress(duckdb.Error):  # a failed commit has already ended the transaction
            con.execute("ROLLBACK")
        raise

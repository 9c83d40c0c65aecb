"""The ledger as a SQLite file in WAL mode, since calls are many and small. Survives kill -9."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from errno import EROFS
from pathlib import Path
from typing import Any

from evoembedding.schemas.budget import Spent
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.text import shown
from evoembedding.warehouse.ledger.stored import (
    COLUMNS,
    INTEGERS,
    REALS,
    SEALED,
    Run,
    StoredLedger,
    seal,
    sound,
    unsealed,
)
from evoembedding.warehouse.read_only import readable, writable

FILE = "ledger.sqlite"
BROKEN = (sqlite3.Error, UnicodeDecodeError)  # the second of an error that quotes what is damaged
_TYPES = {**dict.fromkeys(INTEGERS, "INTEGER"), **dict.fromkeys(REALS, "REAL"), "call_id": "TEXT PRIMARY KEY"}
# The index holds all that `spent` adds up, so that no row with its whole answer is read for that.
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS calls (
    {", ".join(f"{c} {_TYPES.get(c, 'TEXT')}" for c in COLUMNS)}, request BLOB, seal TEXT
);
CREATE INDEX IF NOT EXISTS calls_by_scope ON calls (scope, stage, prompt_tokens, completion_tokens, cost);
CREATE TABLE IF NOT EXISTS faults (
    teacher TEXT, endpoint TEXT, kind TEXT, count INTEGER, last_at TEXT, seal TEXT,
    PRIMARY KEY (teacher, endpoint, kind)
);
CREATE TABLE IF NOT EXISTS charged (scope TEXT PRIMARY KEY, calls INTEGER, tokens INTEGER, cost REAL, seal TEXT);
"""


class SqliteLedger(StoredLedger):
    """One thread at a time; processes open their own."""

    remote = False
    _STORE = "file"
    _LOCKED = ""  # a writer has the whole file

    def __init__(self, con: sqlite3.Connection, path: Path, held: ExitStack) -> None:
        """`held` is closed with the connection."""
        super().__init__(str(path))
        self._con, self._path, self._held = con, path, held

    @classmethod
    def open(cls, home: Path) -> SqliteLedger:
        """Open the ledger of a state folder, making it if there is none.

        Raises:
            EvoError: the file cannot be made, or is no ledger.
        """
        path, held = home / FILE, ExitStack()
        try:
            home.mkdir(parents=True, exist_ok=True)
            path = readable(path, held)
            # No isolation level: transactions begin where `_write` says so, and not by themselves.
            con = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            # NORMAL: what is committed survives the death of the process; only a power cut may lose the last calls.
            con.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
            _seal_older(con)
        except (OSError, *BROKEN) as error:
            raise _unusable(path, error) from error
        return cls(con, home / FILE, held)

    def close(self) -> None:
        """Give the file back."""
        self._con.close()
        self._held.close()

    def damage(self, deep: bool) -> Iterator[str]:
        """What is wrong with the file; with `deep`, also whose answers are not those that were kept."""
        try:
            found = [str(row[0]) for row in self._con.execute(f"PRAGMA {'integrity' if deep else 'quick'}_check")]
            if found != ["ok"]:
                yield shown(" ".join(found[0].split()), 300)
            elif deep:
                for table, columns in SEALED.items():
                    for row in self._con.execute(f"SELECT {', '.join(columns)}, seal FROM {table}"):  # noqa: S608
                        if not sound(row):
                            yield unsealed(table, row)
        except BROKEN as error:
            yield _said(error)

    def _spend(self, run: Run, scope: str, spent: Spent) -> None:
        """The sum over an index is quick enough for one process that asks once."""

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._con.execute(statement, values).fetchall()
        except BROKEN as error:
            raise _unusable(self._path, error) from error

    def _write(self, what: str, work: Callable[[Run], None]) -> None:
        try:
            if not writable(self._path.parent):  # a copy is open, which is thrown away
                raise sqlite3.OperationalError(os.strerror(EROFS))
            with _alone(self._con):
                work(lambda statement, values: self._con.execute(statement, values).fetchall())
        except BROKEN as error:
            raise EvoError(
                f"{what} could not be kept in the ledger ({_said(error)}); the run stops, since further answers would "
                "be paid for and lost; make room or mend the file, then rerun"
            ) from error


def _alone(con: sqlite3.Connection) -> sqlite3.Connection:
    """A transaction, as a context manager that commits or rolls back."""
    # IMMEDIATE takes SQLite's write lock now, so that what is looked up still holds when rows are written.
    con.execute("BEGIN IMMEDIATE")
    return con


def _seal_older(con: sqlite3.Connection) -> None:
    """Seal the rows of a ledger from before there were seals, all at once: killed, none is."""
    known = "SELECT 1 FROM pragma_table_info(?) WHERE name = 'seal'"
    if all(con.execute(known, (table,)).fetchone() for table in SEALED):
        return
    con.create_function("sealed", -1, lambda *row: seal(row), deterministic=True)
    with _alone(con):
        for table, columns in SEALED.items():
            if not con.execute(known, (table,)).fetchone():  # by another process, by now
                con.execute(f"ALTER TABLE {table} ADD COLUMN seal TEXT")
                con.execute(f"UPDATE {table} SET seal = sealed({', '.join(columns)})")  # noqa: S608


def _said(error: Exception) -> str:
    """An error in a line: it may quote what is damaged."""
    return shown(" ".join(str(error).split()), 300)


def _unusable(path: Path, error: Exception) -> EvoError:
    return EvoError(
        f"teacher-call ledger '{path}' cannot be used ({_said(error)}); no teacher was asked; "
        "restore the file from a copy, or move it away: its answers would be paid for again"
    )

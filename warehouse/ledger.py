"""The teacher-call ledger: a SQLite file in WAL mode, since calls are many and small. Survives kill -9.

SQLite has no type for moments: they are ISO 8601 in UTC here, whose order as texts is theirs.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Container, Iterator
from contextlib import ExitStack
from errno import EROFS
from hashlib import blake2b
from pathlib import Path
from typing import Any

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.ids import canonical
from evoembedding.schemas.moments import now
from evoembedding.schemas.teacher import Paid, Spent, TeacherCall, TeacherRequest
from evoembedding.warehouse.read_only import readable, writable

FILE = "ledger.sqlite"
COLUMNS = tuple(TeacherCall.model_fields)
_TYPES = {"prompt_tokens": "INTEGER", "completion_tokens": "INTEGER", "seconds": "REAL", "cost": "REAL"}
# The index holds all that `spent` adds up, so that no row with its whole answer is read for that.
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS calls (
    {", ".join(f"{c} {_TYPES.get(c, 'TEXT')}{' PRIMARY KEY' if c == 'call_id' else ''}" for c in COLUMNS)},
    request BLOB, seal TEXT
);
CREATE INDEX IF NOT EXISTS calls_by_scope ON calls (scope, stage, prompt_tokens, completion_tokens, cost);
CREATE TABLE IF NOT EXISTS faults (
    teacher TEXT, endpoint TEXT, kind TEXT, count INTEGER, last_at TEXT, seal TEXT,
    PRIMARY KEY (teacher, endpoint, kind)
);
CREATE TABLE IF NOT EXISTS charged (scope TEXT PRIMARY KEY, calls INTEGER, tokens INTEGER, cost REAL, seal TEXT);
"""
_ALL = (*COLUMNS, "request", "seal")
# What each table's seals are over; those of counters are moved on with them, unless the counter was changed.
_SEALED = {
    "calls": (*COLUMNS, "request"),
    "faults": ("teacher", "endpoint", "kind", "count", "last_at"),
    "charged": ("scope", "calls", "tokens", "cost"),
}
_FIND = f"SELECT {', '.join(_ALL)} FROM calls WHERE call_id = ?"  # noqa: S608
_RECORD = f"INSERT OR IGNORE INTO calls ({', '.join(_ALL)}) VALUES ({', '.join('?' * len(_ALL))})"  # noqa: S608
TOTALS = (
    *("scope", "stage", "model", "calls", "malformed"),
    *("prompt_tokens", "completion_tokens", "seconds_a_call", "cost"),
)
_FAULT = """INSERT INTO faults (teacher, endpoint, kind, count, last_at, seal)
    VALUES (:teacher, :endpoint, :kind, 1, :at, sealed(:teacher, :endpoint, :kind, 1, :at))
    ON CONFLICT DO UPDATE SET count = count + 1, last_at = excluded.last_at,
        seal = CASE seal WHEN sealed(teacher, endpoint, kind, count, last_at)
               THEN sealed(teacher, endpoint, kind, count + 1, excluded.last_at) ELSE seal END"""
_CHARGE = """INSERT INTO charged (scope, calls, tokens, cost, seal)
    VALUES (:scope, :calls, :tokens, CAST(:cost AS REAL), sealed(:scope, :calls, :tokens, CAST(:cost AS REAL)))
    ON CONFLICT DO UPDATE
    SET calls = calls + excluded.calls, tokens = tokens + excluded.tokens, cost = cost + excluded.cost,
        seal = CASE seal WHEN sealed(scope, calls, tokens, cost)
               THEN sealed(scope, calls + excluded.calls, tokens + excluded.tokens, cost + excluded.cost)
               ELSE seal END"""


class SqliteLedger:
    """Implements `schemas.teacher.Ledger`. One thread at a time; processes open their own."""

    def __init__(self, con: sqlite3.Connection, path: Path, held: ExitStack) -> None:
        """`held` is closed with the connection."""
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
            # No isolation level: each statement commits by itself, so that an answer is kept once `record` returns.
            con = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            # NORMAL: what is committed survives the death of the process; only a power cut may lose the last calls.
            con.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
            # Counters are sealed within the statement that moves them on, so that processes at once lose no count.
            con.create_function("sealed", -1, lambda *row: _seal(row), deterministic=True)
            _seal_older(con)
        except (OSError, sqlite3.Error) as error:
            raise _unusable(path, error) from error
        return cls(con, home / FILE, held)

    def close(self) -> None:
        """Give the file back."""
        self._con.close()
        self._held.close()

    def find(self, call_id: str) -> TeacherCall | None:
        """The call of that key, if it was answered.

        Raises:
            EvoError: the file is damaged, or the answer is not the one that was kept.
        """
        rows = self._rows(_FIND, (call_id,))
        if not rows:
            return None
        if not _sound(rows[0]):
            raise EvoError(
                f"the answer of call {call_id} in the teacher-call ledger '{self._path}' is not the one that was kept; "
                "it was not used, nor asked for again, which would be paid for; restore the file from a copy, or move "
                "it away"
            )
        return _call(rows[0])

    def record(self, call: TeacherCall, request: TeacherRequest) -> None:
        """Keep an answered call with its request; durable when this returns.

        Raises:
            EvoError: it could not be written, for example on a full disk.
        """
        fields = call.model_dump(mode="json") | {"valid": "1" if call.valid else "0"}
        row = (*(fields[c] for c in COLUMNS), zlib.compress(canonical(request.model_dump()), 1))
        self._write(_RECORD, (*row, _seal(row)), f"the answer of call {call.call_id}")

    def request(self, call_id: str) -> bytes | None:
        """The canonical JSON of what was asked."""
        rows = self._rows("SELECT request FROM calls WHERE call_id = ?", (call_id,))
        return zlib.decompress(rows[0][0]) if rows else None

    def fault(self, teacher: str, endpoint: str, kind: str) -> None:
        """Count a call that got no answer, or something odd about one that did.

        Raises:
            EvoError: it could not be written.
        """
        row = {"teacher": teacher, "endpoint": endpoint, "kind": kind, "at": now().isoformat()}
        self._write(_FAULT, row, "a fault")

    def charge(self, scope: str, spent: Spent) -> None:
        """Remember what a request without an answer may have been charged.

        Raises:
            EvoError: it could not be written.
        """
        self._write(_CHARGE, {"scope": scope, **spent.model_dump()}, "a request without an answer")

    def charged(self) -> dict[str, Spent]:
        """By scope, what requests without an answer may have been charged."""
        rows = self._rows("SELECT scope, calls, tokens, cost FROM charged ORDER BY scope")
        return {scope: Spent(calls=calls, tokens=tokens, cost=cost) for scope, calls, tokens, cost in rows}

    def faults(self) -> dict[str, int]:
        """What went wrong with calls, by kind."""
        return dict(self._rows("SELECT kind, sum(count) FROM faults GROUP BY kind ORDER BY kind"))

    def calls(self, scope: str, but: Container[str] = ()) -> Iterator[TeacherCall]:
        """A scope's answered calls but those of some ids, in the order in which they were answered."""
        # By rowid, since a clock may be set back; and one by one, since rows hold whole answers and `find` checks each.
        for (call_id,) in self._rows("SELECT call_id FROM calls WHERE scope = ? ORDER BY rowid", (scope,)):
            if call_id not in but and (call := self.find(call_id)):
                yield call

    def pace(self, scope: str) -> dict[str, dict[str, float]]:
        """By stage: mean prompt and completion tokens a call, calls an item, and calls a minute of those with calls."""
        rows = self._rows(
            """SELECT stage, avg(prompt_tokens), avg(completion_tokens), 1.0 * count(*) / count(DISTINCT item),
                      1.0 * count(*) / count(DISTINCT substr(created_at, 1, 16))
               FROM calls WHERE scope = ? GROUP BY stage""",
            (scope,),
        )
        names = ("prompt_tokens", "completion_tokens", "calls_an_item", "calls_a_minute")
        return {stage: dict(zip(names, values, strict=True)) for stage, *values in rows}

    def totals(self) -> list[dict[str, Any]]:
        """A row a scope, stage and model: calls, malformed ones among them, tokens, seconds a call, cost."""
        rows = self._rows(
            """SELECT scope, stage, model, count(*), sum(valid = '0'), sum(prompt_tokens), sum(completion_tokens),
                      avg(seconds), sum(cost)
               FROM calls GROUP BY scope, stage, model ORDER BY scope, stage, model"""
        )
        return [dict(zip(TOTALS, row, strict=True)) for row in rows]

    def paid(self) -> list[Paid]:
        """A row a scope and month, of answered calls."""
        rows = self._rows(
            """SELECT scope, substr(created_at, 1, 7), count(*), sum(prompt_tokens + completion_tokens), sum(cost)
               FROM calls GROUP BY 1, 2 ORDER BY 1, 2"""
        )
        return [Paid(**dict(zip(Paid.model_fields, row, strict=True))) for row in rows]

    def spent(self, scope: str) -> Spent:
        """The sum over a scope's calls, malformed answers included: they were paid for; and over its requests without
        an answer that may have been.
        """
        [row] = self._rows(
            """SELECT count(*), coalesce(sum(prompt_tokens + completion_tokens), 0), coalesce(sum(cost), 0.0)
               FROM calls WHERE scope = ?""",
            (scope,),
        )
        charged = self.charged().get(scope, Spent())
        return Spent(calls=row[0] + charged.calls, tokens=row[1] + charged.tokens, cost=row[2] + charged.cost)

    def damage(self, deep: bool) -> Iterator[str]:
        """What is wrong with the file; with `deep`, also whose answers are not those that were kept."""
        try:
            found = [str(row[0]) for row in self._con.execute(f"PRAGMA {'integrity' if deep else 'quick'}_check")]
            if found != ["ok"]:
                yield " ".join(found[0].split())
            elif deep:
                for table, columns in _SEALED.items():
                    for row in self._con.execute(f"SELECT {', '.join(columns)}, seal FROM {table}"):  # noqa: S608
                        if not _sound(row):
                            what = "the answer of call" if table == "calls" else f"the row in '{table}' of"
                            yield f"{what} {row[0]} is not the one that was kept"
        except sqlite3.Error as error:
            yield str(error)

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._con.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error

    def _write(self, statement: str, values: tuple[Any, ...] | dict[str, Any], what: str) -> None:
        try:
            if not writable(self._path.parent):  # a copy is open, which is thrown away
                raise sqlite3.OperationalError(os.strerror(EROFS))
            self._con.execute(statement, values)
        except sqlite3.Error as error:
            raise EvoError(
                f"{what} could not be kept in the ledger ({error}); the run stops, since further answers would be "
                "paid for and lost; make room or mend the file, then rerun"
            ) from error


def _seal_older(con: sqlite3.Connection) -> None:
    """Seal the rows of a ledger from before there were seals, all at once: killed, none is."""
    known = "SELECT 1 FROM pragma_table_info(?) WHERE name = 'seal'"
    if all(con.execute(known, (table,)).fetchone() for table in _SEALED):
        return
    # IMMEDIATE takes SQLite's write lock now, so that the look below still holds when rows are written.
    con.execute("BEGIN IMMEDIATE")
    with con:  # commits or rolls back
        for table, columns in _SEALED.items():
            if not con.execute(known, (table,)).fetchone():  # by another process, by now
                con.execute(f"ALTER TABLE {table} ADD COLUMN seal TEXT")
                con.execute(f"UPDATE {table} SET seal = sealed({', '.join(columns)})")  # noqa: S608


def _seal(row: tuple[Any, ...]) -> str:
    """A hash over a row as it is kept: SQLite has no checksums."""
    fields = [value for value in row if not isinstance(value, bytes)]
    return blake2b(canonical(fields) + b"".join(v for v in row if isinstance(v, bytes)), digest_size=16).hexdigest()


def _sound(row: tuple[Any, ...]) -> bool:
    """Whether a row is what was kept."""
    *kept, seal = row
    try:
        return bool(_seal(tuple(kept)) == seal)
    except TypeError:  # a value is of another type by now
        return False


def _unusable(path: Path, error: Exception) -> EvoError:
    return EvoError(
        f"teacher-call ledger '{path}' cannot be used ({error}); no teacher was asked; "
        "restore the file from a copy, or move it away: its answers would be paid for again"
    )


def _call(row: tuple[Any, ...]) -> TeacherCall:
    fields = dict(zip(COLUMNS, row, strict=False))
    return TeacherCall(**fields | {"valid": fields["valid"] == "1"})

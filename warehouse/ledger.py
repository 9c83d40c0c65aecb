"""The teacher-call ledger: a SQLite file in WAL mode, since calls are many and small. Survives kill -9.

SQLite has no type for moments: they are ISO 8601 in UTC here, whose order as texts is theirs.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from schemas.errors import EvoError
from schemas.ids import canonical
from schemas.moments import now
from schemas.teacher import Spent, TeacherCall, TeacherRequest

FILE = "ledger.sqlite"
COLUMNS = tuple(TeacherCall.model_fields)
_TYPES = {"prompt_tokens": "INTEGER", "completion_tokens": "INTEGER", "seconds": "REAL", "cost": "REAL"}
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS calls (
    {", ".join(f"{c} {_TYPES.get(c, 'TEXT')}{' PRIMARY KEY' if c == 'call_id' else ''}" for c in COLUMNS)}, request BLOB
);
CREATE INDEX IF NOT EXISTS calls_by_scope ON calls (scope, stage, prompt_tokens, completion_tokens, cost);
CREATE TABLE IF NOT EXISTS faults (
    teacher TEXT, endpoint TEXT, kind TEXT, count INTEGER, last_at TEXT, PRIMARY KEY (teacher, endpoint, kind)
);
CREATE TABLE IF NOT EXISTS charged (scope TEXT PRIMARY KEY, calls INTEGER, tokens INTEGER, cost REAL);
"""
_FIND = f"SELECT {', '.join(COLUMNS)} FROM calls WHERE call_id = ?"  # noqa: S608
_RECORD = f"INSERT OR IGNORE INTO calls VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"  # noqa: S608
_FAULT = """INSERT INTO faults VALUES (?, ?, ?, 1, ?)
    ON CONFLICT DO UPDATE SET count = count + 1, last_at = excluded.last_at"""
_CHARGE = """INSERT INTO charged VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
    SET calls = calls + excluded.calls, tokens = tokens + excluded.tokens, cost = cost + excluded.cost"""


class SqliteLedger:
    """Implements `schemas.teacher.Ledger`. One thread at a time; processes open their own."""

    def __init__(self, con: sqlite3.Connection) -> None:
        self._con = con

    @classmethod
    def open(cls, home: Path) -> SqliteLedger:
        """Open the ledger of a state folder, making it if there is none.

        Raises:
            EvoError: the file cannot be made, or is no ledger.
        """
        path = home / FILE
        try:
            home.mkdir(parents=True, exist_ok=True)
            con = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            # NORMAL: what is committed survives the death of the process; only a power cut may lose the last calls.
            con.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise EvoError(
                f"teacher-call ledger '{path}' cannot be used ({error}); no teacher was asked; "
                "restore the file from a copy, or move it away: its answers would be paid for again"
            ) from error
        return cls(con)

    def close(self) -> None:
        """Give the file back."""
        self._con.close()

    def find(self, call_id: str) -> TeacherCall | None:
        """The call of that key, if it was answered."""
        row = self._con.execute(_FIND, (call_id,)).fetchone()
        return None if row is None else _call(row)

    def record(self, call: TeacherCall, request: TeacherRequest) -> None:
        """Keep an answered call with its request; durable when this returns.

        Raises:
            EvoError: it could not be written, for example on a full disk.
        """
        fields = call.model_dump(mode="json") | {"valid": "1" if call.valid else "0"}
        asked = zlib.compress(canonical(request.model_dump()), 1)
        self._write(_RECORD, (*(fields[c] for c in COLUMNS), asked), f"the answer of call {call.call_id}")

    def request(self, call_id: str) -> bytes | None:
        """The canonical JSON of what was asked."""
        row = self._con.execute("SELECT request FROM calls WHERE call_id = ?", (call_id,)).fetchone()
        return zlib.decompress(row[0]) if row else None

    def fault(self, teacher: str, endpoint: str, kind: str) -> None:
        """Count a call that got no answer, or something odd about one that did.

        Raises:
            EvoError: it could not be written.
        """
        self._write(_FAULT, (teacher, endpoint, kind, now().isoformat()), "a fault")

    def charge(self, scope: str, spent: Spent) -> None:
        """Remember what a request without an answer may have been charged.

        Raises:
            EvoError: it could not be written.
        """
        self._write(_CHARGE, (scope, spent.calls, spent.tokens, spent.cost), "a request without an answer")

    def charged(self) -> dict[str, Spent]:
        """By scope, what requests without an answer may have been charged."""
        rows = self._con.execute("SELECT scope, calls, tokens, cost FROM charged ORDER BY scope")
        return {scope: Spent(calls=calls, tokens=tokens, cost=cost) for scope, calls, tokens, cost in rows}

    def faults(self) -> dict[str, int]:
        """What went wrong with calls, by kind."""
        return dict(self._con.execute("SELECT kind, sum(count) FROM faults GROUP BY kind ORDER BY kind"))

    def calls(self, scope: str, since: datetime | None = None) -> Iterator[TeacherCall]:
        """A scope's answered calls from a time on, the oldest first."""
        query = f"SELECT {', '.join(COLUMNS)} FROM calls WHERE scope = ? AND created_at >= ? ORDER BY created_at"  # noqa: S608
        for row in self._con.execute(query, (scope, since.isoformat() if since else "")):
            yield _call(row)

    def pace(self, scope: str) -> dict[str, dict[str, float]]:
        """By stage: mean prompt and completion tokens a call, calls an item, and calls a minute of those with calls."""
        rows = self._con.execute(
            """SELECT stage, avg(prompt_tokens), avg(completion_tokens), 1.0 * count(*) / count(DISTINCT item),
                      1.0 * count(*) / count(DISTINCT substr(created_at, 1, 16))
               FROM calls WHERE scope = ? GROUP BY stage""",
            (scope,),
        )
        names = ("prompt_tokens", "completion_tokens", "calls_an_item", "calls_a_minute")
        return {stage: dict(zip(names, values, strict=True)) for stage, *values in rows}

    def totals(self) -> list[dict[str, Any]]:
        """A row a scope, stage and model: calls, malformed ones among them, tokens, seconds a call, cost."""
        cursor = self._con.execute(
            """SELECT scope, stage, model, count(*) AS calls, sum(valid = '0') AS malformed,
                      sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
                      avg(seconds) AS seconds_a_call, sum(cost) AS cost
               FROM calls GROUP BY scope, stage, model ORDER BY scope, stage, model"""
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def spent(self, scope: str) -> Spent:
        """The sum over a scope's calls, malformed answers included: they were paid for; and over its requests without
        an answer that may have been.
        """
        row = self._con.execute(
            """SELECT count(*), coalesce(sum(prompt_tokens + completion_tokens), 0), coalesce(sum(cost), 0.0)
               FROM calls WHERE scope = ?""",
            (scope,),
        ).fetchone()
        charged = self.charged().get(scope, Spent())
        return Spent(calls=row[0] + charged.calls, tokens=row[1] + charged.tokens, cost=row[2] + charged.cost)

    def _write(self, statement: str, values: tuple[Any, ...], what: str) -> None:
        try:
            self._con.execute(statement, values)
        except sqlite3.Error as error:
            raise EvoError(
                f"{what} could not be kept in the ledger ({error}); the run stops, since further answers would be "
                "paid for and lost; make room or mend the file, then rerun"
            ) from error


def _call(row: tuple[Any, ...]) -> TeacherCall:
    fields = dict(zip(COLUMNS, row, strict=True))
    return TeacherCall(**fields | {"valid": fields["valid"] == "1"})

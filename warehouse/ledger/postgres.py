"""The ledger in the catalog's PostgreSQL: drivers on several machines share its answers and its budgets.

What is under way stands in `reserved`, by call: who sends it, and what it may come to. So one budget holds for all, and
of two drivers that want the same answer one asks. What a driver that is gone had under way may have been charged, and
counts as that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg

from evoembedding.schemas.budget import Budget, Reservation, Spent
from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.ledger.owners import LOCKS, Gone, Owner
from evoembedding.warehouse.ledger.reservations import reserve
from evoembedding.warehouse.ledger.stored import COLUMNS, INTEGERS, REALS, SEALED, Run, StoredLedger, sound, unsealed

T = TypeVar("T")
SCHEMA = "evo_ledger"
PATIENCE_S = 60.0  # for a server that is started anew
_TYPES = {
    **dict.fromkeys(INTEGERS, "BIGINT"),
    **dict.fromkeys(REALS, "DOUBLE PRECISION"),
    "call_id": "TEXT PRIMARY KEY",
}
# `spent` is what `calls` and `charged` come to, by scope: a reservation cannot wait for a sum over all calls.
_TABLES = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
SET search_path TO {SCHEMA};
CREATE TABLE calls (
    {", ".join(f"{c} {_TYPES.get(c, 'TEXT')}" for c in COLUMNS)}, request BYTEA, seal TEXT, rowid BIGSERIAL
);
CREATE INDEX calls_by_scope ON calls (scope, rowid);
CREATE TABLE faults (
    teacher TEXT, endpoint TEXT, kind TEXT, count BIGINT, last_at TEXT, seal TEXT,
    PRIMARY KEY (teacher, endpoint, kind)
);
CREATE TABLE charged (scope TEXT PRIMARY KEY, calls BIGINT, tokens BIGINT, cost DOUBLE PRECISION, seal TEXT);
CREATE TABLE spent (scope TEXT PRIMARY KEY, calls BIGINT, tokens BIGINT, cost DOUBLE PRECISION);
CREATE TABLE reserved (
    call_id TEXT PRIMARY KEY, scope TEXT, owner INTEGER, calls BIGINT, tokens BIGINT, cost DOUBLE PRECISION
);
CREATE SEQUENCE owners AS INTEGER CYCLE;
"""


class PostgresLedger(StoredLedger):
    """Implements `schemas.teacher.CommonLedger`. Any thread: each has a connection of its own."""

    remote = True
    _STORE = "database"
    _LOCKED = " FOR UPDATE"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._url, self._local = url, threading.local()
        self._opened: list[psycopg.Connection[Any]] = []
        self._owner: Owner | None = None
        self._gone, self._one_owner, self._looked_at = Gone(), threading.Lock(), 0.0

    @classmethod
    def open(cls, url: str) -> PostgresLedger:
        """Open the ledger of a database, making its tables if there are none.

        Raises:
            EvoError: the server cannot be reached, or lets nobody make tables.
        """
        ledger = cls(url)
        if not cls.is_there(url):
            ledger._patiently(_make)
        return ledger

    @classmethod
    def is_there(cls, url: str) -> bool:
        """Whether a database has one.

        Raises:
            EvoError: the server cannot be reached.
        """
        ledger = cls(url)
        try:
            return bool(ledger._rows("SELECT to_regclass(?)", (f"{SCHEMA}.owners",))[0][0])
        finally:
            ledger.close()

    def close(self) -> None:
        """Give the connections back, and what of reservations is left: nothing more is sent."""
        if self._owner:
            number = self._owner.number
            self._write("the end", lambda run: run("DELETE FROM reserved WHERE owner = ? RETURNING 1", (number,)))
            self._owner.close()
        for con in self._opened:
            con.close()

    def reserve(self, scope: str, budget: Budget, call_id: str, most: Spent) -> Reservation:
        """See `schemas.teacher.CommonLedger`.

        Raises:
            EvoError: the server is gone for longer than is waited for it.
        """
        owner = self._owners_number()
        found = self._patiently(
            lambda con: _in_turn(con, lambda run: reserve(run, owner, scope, budget, call_id, most))
        )
        if found.state in ("elsewhere", "full"):
            self._bury()
        return found

    def release(self, call_id: str) -> None:
        """See `schemas.teacher.CommonLedger`."""
        gone = "DELETE FROM reserved WHERE call_id = ? AND owner = ? RETURNING 1"
        self._write("a reservation", lambda run: run(gone, (call_id, self._owners_number())))

    def damage(self, deep: bool) -> Iterator[str]:
        """With `deep`, whose answers are not those that were kept, and sums that are none; the rest is the server's."""
        for table, columns in SEALED.items() if deep else ():
            for row in self._rows(f"SELECT {', '.join(columns)}, seal FROM {table}"):  # noqa: S608
                if not sound(row):
                    yield unsealed(table, row)
        for scope, calls in self._rows("SELECT scope, calls FROM spent") if deep else ():
            if (counted := self.spent(scope).calls) != calls:
                yield f"scope '{scope}' has {counted} calls, and its sum says {calls}"

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._patiently(lambda con: _run(con)(statement, values))

    def _write(self, what: str, work: Callable[[Run], Any]) -> None:
        self._patiently(lambda con: _in_turn(con, work))

    def _spend(self, run: Run, scope: str, spent: Spent) -> None:
        # No row before the first reservation, which adds up what is there.
        run(
            "UPDATE spent SET calls = calls + ?, tokens = tokens + ?, cost = cost + ? WHERE scope = ? RETURNING 1",
            (spent.calls, spent.tokens, spent.cost, scope),
        )

    def _bury(self) -> None:
        """Charge what drivers that are gone had under way."""
        if time.monotonic() - self._looked_at < 1:
            return
        self._looked_at = time.monotonic()
        mine = self._owners_number()
        for (owner,) in self._rows("SELECT DISTINCT owner FROM reserved WHERE owner <> ?", (mine,)):
            if self._patiently(partial(self._gone.look, owner=owner)):
                self._write("calls of a driver that is gone", partial(self._charge_all, owner=owner))

    def _charge_all(self, run: Run, owner: int) -> None:
        left = run("DELETE FROM reserved WHERE owner = ? RETURNING scope, call_id, calls, tokens, cost", (owner,))
        # In one order, so that two drivers who do this never wait for each other.
        for scope, call_id, calls, tokens, cost in sorted(left):
            if not run("SELECT 1 FROM calls WHERE call_id = ?", (call_id,)):  # else it was kept, and is counted
                self._charge(run, scope, Spent(calls=calls, tokens=tokens, cost=cost))

    def _owners_number(self) -> int:
        with self._one_owner:
            if self._owner is None:
                self._owner = self._patiently(lambda _: Owner(self._connect))
            return self._owner.number

    def _connect(self) -> psycopg.Connection[Any]:
        con = psycopg.connect(self._url, autocommit=True, application_name="evo-ledger")
        con.execute(f"SET search_path TO {SCHEMA}")
        return con

    def _patiently(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """The result of `work`, again from its start while the server is being started anew.

        What was committed though its answer was lost is done twice then: a fault or a charge is counted once too often.
        """
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return work(self._connection())
            except psycopg.OperationalError as error:
                # A server that never answered is a wrong address, which is told at once.
                if not self._opened or time.monotonic() > until:
                    raise self._unusable(error) from error
                if con := getattr(self._local, "con", None):
                    con.close()
                time.sleep(0.5)
            except psycopg.Error as error:
                raise self._unusable(error) from error

    def _connection(self) -> psycopg.Connection[Any]:
        """This thread's."""
        con: psycopg.Connection[Any] | None = getattr(self._local, "con", None)
        if con is None or con.closed:
            con = self._local.con = self._connect()
            self._opened.append(con)
        return con

    def _unusable(self, error: Exception) -> EvoError:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        return EvoError(
            f"teacher-call ledger at '{self.name}' cannot be used ({first}); the run stops, since answers would be "
            "paid for and lost; see that the server runs, that PGPASSWORD is set, and that you may make tables there"
        )


def _make(con: psycopg.Connection[Any]) -> None:
    """Make the tables, unless another driver has made them by now."""
    with con.transaction():
        con.execute("SELECT pg_advisory_xact_lock(%s, 0)", (LOCKS,))
        if con.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.owners",)).fetchone() == (None,):
            con.execute(_TABLES)


def _in_turn(con: psycopg.Connection[Any], work: Callable[[Run], T]) -> T:
    with con.transaction():
        return work(_run(con))


def _run(con: psycopg.Connection[Any]) -> Run:
    def run(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        cursor = con.execute(statement.replace("?", "%s"), values)
        return cursor.fetchall() if cursor.description else []

    return run

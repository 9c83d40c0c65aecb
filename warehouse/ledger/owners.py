"""Who is at work on a ledger in PostgreSQL: each driver holds a lock of the server's for as long as it lives.

The lock goes with the driver's connection, however that ends, so that no clock of any machine is asked. It also goes
when the server is started anew; then its driver takes it again within seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

LOCKS = 0x65766F6C  # 'evol' in ASCII: the first half of these locks' keys, as the warehouse has one of its own
LOOK_S = 3.0  # so often a driver sees that it still holds its lock
# So long a lock has to be seen free before its driver is taken for gone: one that lives has taken it again by then.
GONE_S = 10.0


class Owner:
    """This process among the drivers."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect, self._closed = connect, threading.Event()
        self._con = connect()
        row = self._con.execute("SELECT nextval('owners')").fetchone()
        assert row is not None
        self.number = int(row[0])
        self._hold()
        # A daemon: it must keep no process alive.
        threading.Thread(target=self._keep, daemon=True).start()

    def close(self) -> None:
        """Let go of the lock."""
        self._closed.set()
        self._con.close()

    def _hold(self) -> None:
        self._con.execute("SELECT pg_advisory_lock(%s, %s)", (LOCKS, self.number))

    def _keep(self) -> None:
        while not self._closed.wait(LOOK_S):
            try:
                self._con.execute("SELECT 1")
            except psycopg.Error:
                self._again()

    def _again(self) -> None:
        with suppress(psycopg.Error):  # the server is not back yet
            self._con = self._connect()
            self._hold()
            if self._closed.is_set():
                self._con.close()


class Gone:
    """Finds drivers that are gone, by looking more than once."""

    def __init__(self) -> None:
        self._free_since: dict[int, float] = {}

    def look(self, con: psycopg.Connection[Any], owner: int) -> bool:
        """Whether a driver is gone."""
        row = con.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCKS, owner)).fetchone()
        if not (row and row[0]):
            self._free_since.pop(owner, None)
            return False
        con.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCKS, owner))
        return time.monotonic() - self._free_since.setdefault(owner, time.monotonic()) >= GONE_S

"""Every value of every row of the teachers' ledger is sealed: a changed one is found, and counters go on."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from evoembedding.schemas.budget import Spent
from evoembedding.schemas.teacher import Message, Sampling, TeacherRequest
from evoembedding.warehouse.ledger import FILE, SqliteLedger
from tests.records import teacher_call
from tests.soak import count

TABLES = ("calls", "faults", "charged")


@contextmanager
def opened(home: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger.open(home)) as ledger:
        yield ledger


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with opened(tmp_path) as ledger:
        for n in range(6):
            said = Message(role="user", content=f"Who? {n}")
            request = TeacherRequest(
                model="m", revision="", messages=(said,), sampling=Sampling(), answer_schema="{}", sample=n
            )
            ledger.record(teacher_call(f"call-{2 * n}", "m", content=f"{{{n}}}"), request)
        for kind in ("timeout", "timeout", "busy"):
            ledger.fault("t", "http://127.0.0.1:1/v1", kind)
        for scope, cost in (("s", 0.1), ("s", 0.2), ("other", 0.0)):
            ledger.charge(scope, Spent(calls=1, tokens=7, cost=cost))
    return tmp_path


def damage(home: Path) -> list[str]:
    with opened(home) as ledger:
        return list(ledger.damage(deep=True))


def other(value: Any, rng: random.Random) -> Any:
    """The value with one of its bits changed."""
    if isinstance(value, bytes):
        at = rng.randrange(len(value))
        return value[:at] + bytes([value[at] ^ (1 << rng.randrange(8))]) + value[at + 1 :]
    if isinstance(value, str):
        at = rng.randrange(len(value))
        return value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
    return value + 1.5 if isinstance(value, float) else value ^ (1 << rng.randrange(40))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_changed_value_is_found(home: Path, seed: int) -> None:
    assert damage(home) == []
    rng = random.Random(seed)
    with closing(sqlite3.connect(home / FILE, isolation_level=None)) as con:
        places = [(table, row) for table in TABLES for (row,) in con.execute(f"SELECT rowid FROM {table}").fetchall()]
        for _ in range(count(30, 150)):
            table, row = rng.choice(places)
            column = rng.choice([c[1] for c in con.execute(f"PRAGMA table_info({table})").fetchall()])
            (kept,) = con.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)).fetchone()
            con.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (other(kept, rng), row))
            assert len(damage(home)) == 1, (table, column)
            con.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (kept, row))
    assert damage(home) == []


def test_a_counter_that_was_changed_stays_damaged_as_it_goes_on(home: Path) -> None:
    with closing(sqlite3.connect(home / FILE, isolation_level=None)) as con:
        con.execute("UPDATE charged SET tokens = 0 WHERE scope = 's'")
    with opened(home) as ledger:
        ledger.charge("s", Spent(calls=1, tokens=7, cost=0.1))
        ledger.charge("other", Spent(calls=1, tokens=7, cost=0.1))
    assert damage(home) == ["the row in 'charged' of s is not the one that was kept"]

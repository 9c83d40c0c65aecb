"""The ledger in PostgreSQL: what it keeps is read as from a file, and drivers on several machines share its budgets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from evoembedding.schemas.budget import Budget, Spent
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.teacher import Message, Sampling, TeacherRequest
from evoembedding.warehouse.backend import CATALOG_URL
from evoembedding.warehouse.ledger import (
    PostgresLedger,
    SqliteLedger,
    StoredLedger,
    ledger_is_there,
    open_ledger,
    owners,
)
from tests.conftest import TeacherServer
from tests.records import teacher_call
from tests.servers import Postgres
from tests.soak import count

Serve = Callable[..., TeacherServer]
Served = Callable[[], dict[str, str]]


@pytest.fixture
def url(served: Served) -> str:
    """A new database's."""
    return served()[CATALOG_URL]


@pytest.fixture
def ledger(url: str) -> Iterator[PostgresLedger]:
    with closing(PostgresLedger.open(url)) as opened:
        yield opened


def request(number: int) -> TeacherRequest:
    said = Message(role="user", content=str(number))
    return TeacherRequest(model="m", revision="", messages=(said,), sampling=Sampling(), answer_schema="{}")


def test_what_is_kept_is_read_as_from_a_file(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(ledger: StoredLedger) -> list[Any]:
        for n in range(6):
            call = teacher_call(
                f"call-{n}", "m", scope="ab"[n % 2], stage=f"s{n % 3}", item=f"i{n}", seconds=n, cost=n / 8, valid=n > 1
            )
            ledger.record(call, request(n))
            ledger.record(call, request(n))  # again: it is there
        for kind in ("timeout", "timeout", "500"):
            ledger.fault("t", "http://127.0.0.1:1/v1", kind)
        for scope in "aab":
            ledger.charge(scope, Spent(calls=1, tokens=7, cost=0.25))
        read = [ledger.totals(), ledger.paid(), ledger.faults(), ledger.charged(), ledger.request("call-2")]
        read += [[ledger.spent(scope), ledger.pace(scope), list(ledger.calls(scope, {"call-0"}))] for scope in "abc"]
        return [*read, ledger.find("call-1"), ledger.find("call-9"), list(ledger.damage(deep=True))]

    assert not ledger_is_there(tmp_path)
    with closing(SqliteLedger.open(tmp_path)) as file:
        of_file = told(file)
    assert of_file[-1] == [] and of_file[4] and of_file[5][0].calls == 5
    monkeypatch.setenv(CATALOG_URL, url)
    assert not ledger_is_there(tmp_path)
    with closing(open_ledger(tmp_path)) as server:
        assert server.remote
        assert told(server) == of_file
        assert ledger_is_there(tmp_path)


def test_rows_that_were_changed_are_found(ledger: PostgresLedger, url: str) -> None:
    ledger.record(teacher_call("call-1", "m"), request(1))
    ledger.charge("s", Spent(calls=1, tokens=7, cost=0.25))
    ledger.reserve("s", Budget(), "call-2", Spent(calls=1))
    assert list(ledger.damage(deep=True)) == []
    with psycopg.connect(url, autocommit=True) as con:
        con.execute("UPDATE evo_ledger.calls SET content = 'other'")
        con.execute("UPDATE evo_ledger.charged SET tokens = 0")
        con.execute("UPDATE evo_ledger.spent SET calls = 1")
    found = list(ledger.damage(deep=True))
    assert len(found) == 3 and "call-1" in found[0] and "'charged' of s" in found[1] and "2 calls" in found[2]
    with pytest.raises(EvoError, match="not the one that was kept"):
        ledger.find("call-1")


def test_a_budget_is_set_aside_and_given_back(ledger: PostgresLedger, url: str) -> None:
    one, budget = Spent(calls=1, tokens=10, cost=0.5), Budget(calls=3)
    with closing(PostgresLedger.open(url)) as other:
        assert ledger.reserve("s", budget, "call-1", one).state == "reserved"
        assert other.reserve("s", budget, "call-1", one).state == "elsewhere"
        assert ledger.reserve("s", budget, "call-1", one).state == "reserved"  # its own, asked for again
        assert other.reserve("s", budget, "call-2", one).state == "reserved"
        assert other.reserve("other", budget, "call-1", one).state == "elsewhere"  # a budget of its own, the same call
        ledger.record(teacher_call("call-1", "m"), request(1))
        ledger.release("call-1")
        assert other.reserve("other", budget, "call-1", one).state == "answered"
        assert ledger.reserve("s", budget, "call-3", one).state == "reserved"
        full = ledger.reserve("s", budget, "call-4", one)
        assert (full.state, full.alone, full.reason, full.spent.calls) == ("full", False, "1 of 3 calls", 1)
        other.release("call-3")  # not its own
        assert ledger.reserve("s", budget, "call-4", one).state == "full"
        ledger.charge("s", one)
        ledger.release("call-3")
        assert ledger.reserve("s", budget, "call-4", one).state == "full"
        other.release("call-2")
        assert ledger.reserve("s", budget, "call-4", one).state == "reserved"
        ledger.charge("s", one)
        ledger.release("call-4")
        assert ledger.reserve("s", budget, "call-5", one).alone
    assert ledger.spent("s") == Spent(calls=3, tokens=11 + 20, cost=1.5)


DRIVER = """
import asyncio, json, sys
from contextlib import closing
from pathlib import Path
from pydantic import BaseModel
from evoembedding.schemas.budget import Budget
from evoembedding.schemas.teacher import Message, Sampling, TeacherConfig
from evoembedding.synth.teachers.teacher import Teacher
from evoembedding.warehouse.ledger import open_ledger
class Doubled(BaseModel):
    number: int
    twice: int
async def main():
    with closing(open_ledger(Path(told["home"]))) as ledger:
        config = TeacherConfig(model="scripted", endpoints=(told["url"],), sampling=Sampling(max_tokens=20))
        async with Teacher(config, ledger, "r", Budget(calls=told["budget"])) as teacher:
            said = {n: [Message(role="user", content=str(n))] for n in told["numbers"]}
            asked = [teacher.ask(said[n], Doubled, "double", f"i{n}") for n in said]
            got = await asyncio.gather(*asked, return_exceptions=True)
    print(json.dumps([type(a).__name__ if isinstance(a, Exception) else a.value.twice for a in got]))
told = json.loads(sys.argv[1])
asyncio.run(main())
"""


def double(messages: list[dict[str, str]]) -> str:
    number = int(messages[0]["content"])
    return json.dumps({"number": number, "twice": 2 * number})


class Drivers:
    """Processes with homes of their own that ask one teacher, and share a ledger."""

    def __init__(self, url: str, server: TeacherServer, folder: Path) -> None:
        self.url, self.server, self.folder = url, server, folder
        self.started: list[subprocess.Popen[str]] = []

    def start(self, numbers: list[int], budget: int | None = None) -> subprocess.Popen[str]:
        told = {"home": str(self.folder / f"home-{len(self.started)}"), "url": self.server.url}
        words = [sys.executable, "-c", DRIVER, json.dumps({**told, "numbers": numbers, "budget": budget})]
        environment = {**os.environ, CATALOG_URL: self.url}
        driver = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        self.started.append(driver)
        return driver

    def ended(self) -> list[list[Any]]:
        """What each got, once all have ended."""
        told = [driver.communicate(timeout=300)[0] for driver in self.started]
        assert [driver.returncode for driver in self.started] == [0] * len(told)
        return [json.loads(line) for line in told]


@pytest.fixture
def drivers(url: str, serve: Serve, tmp_path: Path) -> Drivers:
    server = serve(double)
    server.latency_s = 0.05
    return Drivers(url, server, tmp_path)


@pytest.mark.slow
def test_of_drivers_that_want_the_same_answers_one_asks_for_each(drivers: Drivers) -> None:
    numbers = list(range(200))
    for n in range(count(2, 8)):
        drivers.start(numbers[50 * n :] + numbers[: 50 * n])
    assert [sorted(got) for got in drivers.ended()] == [[2 * n for n in numbers]] * len(drivers.started)
    assert drivers.server.answered.total() == drivers.server.asked.total() == 200


@pytest.mark.slow
def test_eight_drivers_spend_one_budget_and_no_call_passes_it(drivers: Drivers, ledger: PostgresLedger) -> None:
    for n in range(8):
        drivers.start(list(range(100 * n, 100 * n + 100)), budget=90)
    got = [answer for answers in drivers.ended() for answer in answers]
    assert drivers.server.answered.total() == drivers.server.asked.total() == 90 == ledger.spent("r").calls
    assert got.count("BudgetSpentError") == 800 - 90


@pytest.mark.slow
def test_what_a_killed_driver_had_under_way_is_charged_and_asked_for_by_another(
    drivers: Drivers, ledger: PostgresLedger
) -> None:
    drivers.server.latency_s = 0.5
    driver = drivers.start(list(range(128)))
    while drivers.server.answered.total() < 64 or drivers.server.in_flight < 20:
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    drivers.started.clear()
    kept = ledger.spent("r").calls
    lost = drivers.server.asked.total() - kept
    assert kept > 0 and lost >= 20
    drivers.start(list(range(128)))
    assert drivers.ended() == [[2 * n for n in range(128)]]
    assert drivers.server.asked.total() == 128 + lost
    # Those that it had set aside and not sent yet are counted as well, since nobody knows.
    assert 128 + lost <= ledger.spent("r").calls <= 256
    assert list(ledger.damage(deep=True)) == []


@pytest.mark.slow
def test_a_server_that_is_started_anew_is_waited_for(
    drivers: Drivers, postgres: Postgres, ledger: PostgresLedger
) -> None:
    numbers = list(range(400))
    for n in range(2):
        drivers.start(numbers[200 * n :] + numbers[: 200 * n])
    for wanted in (60, 200)[: count(1, 2)]:
        while drivers.server.answered.total() < wanted:
            time.sleep(0.01)
        postgres.restart()
    assert [sorted(got) for got in drivers.ended()] == [[2 * n for n in numbers]] * 2
    assert drivers.server.answered.total() == drivers.server.asked.total() == 400 == ledger.spent("r").calls
    assert list(ledger.damage(deep=True)) == []


def test_a_driver_is_gone_when_its_lock_stays_free(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "GONE_S", 0.3)
    one = Spent(calls=1, tokens=10, cost=0.5)
    with closing(PostgresLedger.open(url)) as ledger:
        gone = PostgresLedger.open(url)
        gone.reserve("s", Budget(), "call-1", one)
        gone.reserve("s", Budget(), "call-2", one)
        gone.record(teacher_call("call-2", "m"), request(2))  # kept, and not yet given back
        assert ledger.reserve("s", Budget(), "call-1", one).state == "elsewhere"
        assert gone._owner is not None
        gone._owner.close()  # as when its process is killed
        deadline = time.monotonic() + 30
        while ledger.reserve("s", Budget(), "call-1", one).state == "elsewhere":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert ledger.charged() == {"s": one}
        assert ledger.spent("s").calls == 2


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    monkeypatch.setenv(CATALOG_URL, "postgresql://evo@127.0.0.1:1/db")
    with pytest.raises(EvoError, match="see that the server runs") as raised:
        open_ledger(tmp_path)
    assert "hunter2" not in str(raised.value) and "\n" not in str(raised.value)


def test_a_user_who_may_make_no_tables_is_told(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as con:
        con.execute("CREATE ROLE guest LOGIN")
    try:
        with pytest.raises(EvoError, match=r"permission denied.*may make tables"):
            PostgresLedger.open(url.replace("evo@", "guest@"))
    finally:
        with psycopg.connect(url, autocommit=True) as con:
            con.execute("DROP ROLE guest")

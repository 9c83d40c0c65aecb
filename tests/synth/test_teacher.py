"""The teacher client against real HTTP servers that fail in every way a server can."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from evoembedding.schemas.budget import Budget
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.teacher import Message, Price, Sampling, TeacherConfig
from evoembedding.synth.teachers.faults import BudgetSpentError, NotAnsweredError
from evoembedding.synth.teachers.teacher import STRIKES, Teacher
from evoembedding.warehouse.ledger import SqliteLedger


class Doubled(BaseModel):
    number: int
    twice: int


def double(messages: list[dict[str, str]]) -> str:
    """Answers the first user message, however often it was asked to repair."""
    number = int(next(m["content"] for m in messages if m["role"] == "user"))
    return json.dumps({"number": number, "twice": 2 * number})


def config(*urls: str, **settings: Any) -> TeacherConfig:
    sampling = Sampling(temperature=0, max_tokens=20)
    return TeacherConfig(model="scripted", endpoints=urls, sampling=sampling, **settings)


async def ask_all(teacher: Teacher, numbers: range) -> list[Doubled | Exception]:
    async with teacher:
        jobs = [teacher.ask([Message(role="user", content=str(n))], Doubled, "double", f"item-{n}") for n in numbers]
        answers = await asyncio.gather(*jobs, return_exceptions=True)
    return [a if isinstance(a, Exception) else a.value for a in answers]  # type: ignore[union-attr, misc]


Serve = Callable[..., Any]


@pytest.fixture
def ledger(tmp_path: Path) -> SqliteLedger:
    return SqliteLedger.open(tmp_path)


def right(numbers: range) -> list[Doubled]:
    return [Doubled(number=n, twice=2 * n) for n in numbers]


def test_every_answer_comes_and_a_rerun_calls_nobody(serve: Serve, ledger: SqliteLedger) -> None:
    server = serve(double)
    for _ in range(2):
        teacher = Teacher(config(server.url), ledger, "r")
        assert asyncio.run(ask_all(teacher, range(100))) == right(range(100))
    assert server.answered.total() == len(server.answered) == 100
    assert teacher.spent.calls == ledger.spent("r").calls == 100


def test_a_fifth_of_calls_faulty_and_still_each_answer_once(serve: Serve, ledger: SqliteLedger) -> None:
    server = serve(double)
    server.rates = dict.fromkeys(
        ("429", "500", "hang", "drop", "truncated", "wrong_schema", "empty", "not_json"), 0.025
    )
    teacher = Teacher(config(server.url, timeout_s=5.0), ledger, "r")
    assert asyncio.run(ask_all(teacher, range(400))) == right(range(400))
    assert all(server.faults[name] for name in server.rates)
    assert max(server.answered.values()) == 1  # an answer, good or malformed, is never asked for again
    # What the server may have charged counts too: all but what it turned away.
    charged = sum(server.faults[name] for name in ("500", "hang", "drop", "not_json"))
    assert ledger.spent("r").calls == teacher.spent.calls == server.answered.total() + charged
    assert {"429", "500", "timeout", "connection cut", "malformed response"} <= set(ledger.faults())


def test_a_replica_that_is_down_does_not_stop_the_others(serve: Serve, ledger: SqliteLedger) -> None:
    server, gone = serve(double), serve(double)
    gone.stop()
    teacher = Teacher(config(gone.url, server.url), ledger, "r")
    assert asyncio.run(ask_all(teacher, range(50))) == right(range(50))


@pytest.mark.slow
def test_a_teacher_killed_and_started_again_goes_on(serve: Serve, ledger: SqliteLedger) -> None:
    server = serve(double)
    server.latency_s = 0.02

    async def run() -> list[Doubled | Exception]:
        work = asyncio.create_task(ask_all(Teacher(config(server.url, max_in_flight=4), ledger, "r"), range(200)))
        while server.answered.total() < 40:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        return await work

    assert asyncio.run(run()) == right(range(200))
    in_ledger = sum(row["calls"] for row in ledger.totals())
    assert in_ledger == 200
    assert server.answered.total() - in_ledger <= 4  # answers on their way when the server died


def test_the_limit_shrinks_when_the_server_is_busy(serve: Serve, ledger: SqliteLedger) -> None:
    server = serve(double)
    server.latency_s, server.rates = 0.01, {"429": 0.3}
    teacher = Teacher(config(server.url, max_in_flight=64), ledger, "r")
    assert asyncio.run(ask_all(teacher, range(300))) == right(range(300))
    assert teacher._replicas.members[0].limit < 64
    calm = serve(double)
    teacher = Teacher(config(calm.url, max_in_flight=64), ledger, "other")
    assert asyncio.run(ask_all(teacher, range(1000, 1400))) == right(range(1000, 1400))
    assert teacher._replicas.members[0].limit == 64


def test_retry_after_is_honoured(serve: Serve, ledger: SqliteLedger) -> None:
    server = serve(double)
    server.rates, server.retry_after = {"429": 1.0}, "0.5"

    async def run() -> list[Doubled | Exception]:
        work = asyncio.create_task(ask_all(Teacher(config(server.url), ledger, "r"), range(1)))
        await asyncio.sleep(0.3)
        assert server.asked.total() == 1  # a wait of its own would have been over
        server.rates = {}
        return await work

    assert asyncio.run(run()) == right(range(1))


def test_the_budget_stops_before_it_is_passed_and_goes_on_when_raised(serve: Serve, ledger: SqliteLedger) -> None:
    server = serve(double)
    price = Price(prompt=1.0, completion=2.0)
    for limit in (Budget(calls=10), Budget(calls=25), Budget(tokens=5000), Budget(money=0.008)):
        teacher = Teacher(config(server.url, price=price), ledger, "r", limit)
        got = asyncio.run(ask_all(teacher, range(200)))
        assert any(isinstance(a, BudgetSpentError) for a in got)
        spent = ledger.spent("r")
        assert spent == teacher.spent or spent.cost == pytest.approx(teacher.spent.cost)
        assert limit.calls is None or spent.calls == limit.calls
        assert limit.tokens is None or spent.tokens <= limit.tokens
        assert limit.money is None or spent.cost <= limit.money
    assert asyncio.run(ask_all(Teacher(config(server.url), ledger, "r"), range(200))) == right(range(200))
    assert server.answered.total() == len(server.answered) == 200


def test_malformed_to_the_end_is_a_failure_of_its_item_alone(serve: Serve, ledger: SqliteLedger) -> None:
    server = serve(lambda messages: '{"number": 1}' if messages[0]["content"] == "3" else double(messages))
    teacher = Teacher(config(server.url, repairs=2), ledger, "r")
    got = asyncio.run(ask_all(teacher, range(6)))
    assert isinstance(got[3], NotAnsweredError)
    assert "3 answers were malformed" in got[3].reason and "twice" in got[3].reason
    assert len(got[3].calls) == 3
    assert [a for i, a in enumerate(got) if i != 3] == [d for d in right(range(6)) if d.number != 3]
    again = asyncio.run(ask_all(Teacher(config(server.url, repairs=2), ledger, "r"), range(6)))
    assert isinstance(again[3], NotAnsweredError)
    assert server.answered.total() == 8


def test_equal_requests_under_way_are_one_call_and_samples_are_not(serve: Serve, ledger: SqliteLedger) -> None:
    server = serve(double)
    server.latency_s = 0.05

    async def run() -> None:
        async with Teacher(config(server.url), ledger, "r") as teacher:
            message = [Message(role="user", content="7")]
            same = [teacher.ask(message, Doubled, "s", "i") for _ in range(5)]
            other = teacher.ask(message, Doubled, "s", "i", sample=1)
            await asyncio.gather(*same, other)

    asyncio.run(run())
    assert server.answered.total() == 2


KEY = "sk-very-secret-0123456789"


@pytest.mark.parametrize("what", ["refused", "model", "missing", "rejected"])
def test_mistakes_are_one_sentence_and_hold_no_key(
    serve: Serve, ledger: SqliteLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    server = serve(
        double, key=KEY if what in ("missing", "rejected") else "", model="other" if what == "model" else "scripted"
    )
    wrong = KEY[:-1] + "x"
    if what != "missing":
        monkeypatch.setenv("EVO_TEACHER_API_KEY", wrong)
    if what == "refused":
        server.stop()
    says = {
        "refused": "cannot be reached",
        "model": "it serves: other",
        "missing": "is not set",
        "rejected": "rejected",
    }

    async def check() -> None:
        async with Teacher(config(server.url), ledger, "r") as teacher:
            await teacher.check()

    with pytest.raises(EvoError, match=says[what]) as raised:
        asyncio.run(check())
    assert "\n" not in str(raised.value)
    if what in ("missing", "rejected"):
        got = asyncio.run(ask_all(Teacher(config(server.url), ledger, "r"), range(30)))
        assert all(isinstance(a, EvoError) for a in got)
        assert not server.asked
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in str(raised.value) and wrong not in str(raised.value)
    assert wrong.encode() not in kept


def test_an_endpoint_that_never_answers_ends_the_run_after_patience(serve: Serve, ledger: SqliteLedger) -> None:
    server = serve(double)
    server.stop()
    got = asyncio.run(ask_all(Teacher(config(server.url, patience_s=0.3), ledger, "r"), range(5)))
    assert all(isinstance(a, EvoError) and "answered for" in str(a) for a in got)


@pytest.mark.parametrize(("fault", "told"), [("500", "500"), ("not_json", "malformed response"), ("hang", "timeout")])
def test_items_that_fail_alike_without_an_answer_in_between_end_the_run(
    serve: Serve, ledger: SqliteLedger, fault: str, told: str
) -> None:
    server = serve(double)
    server.rates = {fault: 1.0}
    settings = config(server.url, attempts=2, max_in_flight=2, timeout_s=0.2 if fault == "hang" else 60)
    got = asyncio.run(ask_all(Teacher(settings, ledger, "r"), range(40)))
    assert [type(a) for a in got].count(NotAnsweredError) == STRIKES - 1
    stopped = [str(a) for a in got if isinstance(a, EvoError)]
    assert len(stopped) == 40 - STRIKES + 1
    assert all(f"answered none of {STRIKES} items in a row" in says and told in says for says in stopped)
    assert sum(server.asked.values()) < 40 + 2 * STRIKES  # all are asked once at the same time, and few again
    server.rates = {}
    assert asyncio.run(ask_all(Teacher(settings, ledger, "r"), range(40))) == right(range(40))


def test_what_stopped_the_run_first_stays_the_reason(serve: Serve, ledger: SqliteLedger) -> None:
    """Calls under way come to their end after it, and may be given up alike."""
    server = serve(double)
    server.rates, server.latency_s = {"500": 1.0}, 0.3
    teacher = Teacher(config(server.url, attempts=1, max_in_flight=40), ledger, "r")
    first = EvoError("the disk is full")

    async def ask() -> list[Doubled | Exception]:
        asking = asyncio.create_task(ask_all(teacher, range(10)))
        while teacher.in_flight < 10:
            await asyncio.sleep(0.01)
        teacher.stop(first)
        return await asking

    got = asyncio.run(ask())
    assert [type(a) for a in got].count(NotAnsweredError) == STRIKES - 1
    assert [a for a in got if not isinstance(a, NotAnsweredError)] == [first] * (10 - STRIKES + 1)


def test_a_full_disk_stops_the_run_with_a_sentence(serve: Serve, ledger: SqliteLedger) -> None:
    server = serve(double)
    ledger._con.execute("PRAGMA max_page_count = 1")  # SQLite's own 'database or disk is full'
    got = asyncio.run(ask_all(Teacher(config(server.url), ledger, "r"), range(400)))
    stopped = [a for a in got if isinstance(a, EvoError)]
    assert stopped and "could not be kept in the ledger" in str(stopped[0])


def test_a_file_that_is_no_ledger_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(EvoError, match="not a database"):
        SqliteLedger.open(tmp_path)


CHILD = """
import asyncio, sys
from pathlib import Path
from tests_synth_teacher import ask_all, config
from evoembedding.synth.teachers.teacher import Teacher
from evoembedding.warehouse.ledger import SqliteLedger
asyncio.run(ask_all(Teacher(config(sys.argv[1]), SqliteLedger.open(Path(sys.argv[2])), "r"), range(400)))
"""


def test_kill_9_repeats_no_call_that_the_ledger_holds(serve: Serve, tmp_path: Path) -> None:
    server = serve(double)
    server.latency_s = 0.05
    (tmp_path / "tests_synth_teacher.py").write_bytes(Path(__file__).read_bytes())
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    words = [sys.executable, "-c", CHILD, server.url, str(tmp_path)]
    SqliteLedger.open(tmp_path).close()
    for wanted in (30, 90, 160, 260):
        child = subprocess.Popen(words, env=environ)
        while server.answered.total() < wanted:
            time.sleep(0.01)
        os.killpg(os.getpgid(child.pid), 0)  # it runs
        child.send_signal(signal.SIGKILL)
        child.wait()
        time.sleep(0.2)  # let the server finish what it was asked
        held = ledger_bodies(tmp_path)
        asked_before = {body: n for body, n in server.asked.items() if numbers_of(body) in held}
    assert len(asked_before) > 100
    subprocess.run(words, env=environ, check=True)
    assert len(ledger_bodies(tmp_path)) == 400
    assert all(server.asked[body] == n for body, n in asked_before.items())


def numbers_of(body: str) -> str:
    return str(json.loads(body)["messages"][0]["content"])


def ledger_bodies(folder: Path) -> set[str]:
    """The numbers whose answers the ledger holds."""
    ledger = SqliteLedger.open(folder)
    rows = ledger._con.execute("SELECT item FROM calls").fetchall()
    ledger.close()
    return {item.removeprefix("item-") for (item,) in rows}

"""`evo teacher` as a user runs it, against real servers on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from evoembedding.schemas.budget import Spent
from evoembedding.schemas.teacher import Message, Price, TeacherConfig
from evoembedding.synth.teachers.teacher import Teacher
from evoembedding.warehouse.ledger import SqliteLedger
from tests import warm

Serve = Callable[..., Any]
KEY = "sk-a-secret-of-this-test"


class Word(BaseModel):
    word: str


def evo(home: Path, *words: str, key: str = "") -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "EVO_HOME": str(home), "EVO_TEACHER_API_KEY": key}
    return warm.run(("teacher", *words), environ, timeout=120)


def test_check_tells_what_is_served(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda _: "", key=KEY)
    done = evo(tmp_path, "check", server.url, "--model", "scripted", "--json", key=KEY)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "scripted"
    assert not server.asked


@pytest.mark.parametrize(
    ("model", "url", "key", "says"),
    [
        ("other", "", KEY, "it serves: scripted"),
        ("scripted", "", "", "EVO_TEACHER_API_KEY is not set"),
        ("scripted", "", "sk-wrong-key-of-this-test", "was rejected"),
        ("scripted", "http://127.0.0.1:9/v1", KEY, "cannot be reached"),
        ("scripted", "http://me:hunter2@127.0.0.1:9/v1", KEY, "holds credentials"),
        ("scripted", "nonsense", KEY, "no http or https address"),
    ],
)
def test_mistakes_are_one_sentence_without_secrets(
    serve: Serve, tmp_path: Path, model: str, url: str, key: str, says: str
) -> None:
    server = serve(lambda _: "", key=KEY)
    done = evo(tmp_path, "check", url or server.url, "--model", model, key=key)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr
    for secret in (KEY, "sk-wrong-key-of-this-test", "hunter2"):
        assert secret not in done.stderr + done.stdout


def test_the_ledger_is_told_by_stage(serve: Serve, tmp_path: Path) -> None:
    assert "no teacher has answered" in evo(tmp_path, "ledger").stdout
    server = serve(lambda _: json.dumps({"word": "yes"}))
    ledger = SqliteLedger.open(tmp_path)

    async def ask() -> None:
        config = TeacherConfig(model="scripted", endpoints=(server.url,), price=Price(prompt=1.0))
        async with Teacher(config, ledger, "mine") as teacher:
            await teacher.ask([Message(role="user", content="?")], Word, "questions", "item")

    asyncio.run(ask())
    ledger.close()
    (row,) = json.loads(evo(tmp_path, "ledger", "--json").stdout)["calls"]
    assert (row["scope"], row["stage"], row["model"], row["calls"], row["malformed"]) == (
        "mine",
        "questions",
        "scripted",
        1,
        0,
    )
    assert row["cost"] == pytest.approx(row["prompt_tokens"] / 1e6)
    assert "questions" in (told := evo(tmp_path, "ledger").stdout)
    assert "Charged" not in told


def test_the_ledger_tells_what_was_charged_without_an_answer(tmp_path: Path) -> None:
    ledger = SqliteLedger.open(tmp_path)
    for _ in range(2):
        ledger.charge("mine", Spent(calls=1, tokens=200, cost=0.25))
    ledger.charge("other", Spent(calls=1))
    ledger.close()
    told = json.loads(evo(tmp_path, "ledger", "--json").stdout)
    assert told["charged_without_an_answer"] == {
        "mine": {"calls": 2, "tokens": 400, "cost": 0.5},
        "other": {"calls": 1, "tokens": 0, "cost": 0.0},
    }
    shown = evo(tmp_path, "ledger").stdout
    assert "no teacher has answered" in shown
    assert "Charged without an answer" in shown
    (line,) = [line for line in shown.splitlines() if "mine" in line]
    assert [cell.strip(" │") for cell in line.split("│")[1:5]] == ["mine", "2", "400", "0.5"]

"""The three stages against a real vLLM that is killed in the middle and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from evoembedding.flows.teaching.serve_teacher import running
from evoembedding.schemas.teacher import ServeConfig
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.ledger import SqliteLedger
from tests import warm
from tests.soak import SOAKING, count

PEPS = Path(__file__).parents[3] / "flows" / "examples" / "peps.parquet"
SERVER = ServeConfig(max_model_len=4096)
KEY = "sk-a-secret-of-this-test"
EACH, KILLED_AFTER = count(2, 8), count(6, 12)


def of_group(group: int) -> list[int]:
    """The living processes of a group."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of = stat.read_text().rsplit(")", 1)[1].split()[:3]
            members += [int(stat.parent.name)] if int(of) == group and state != "Z" else []
    return members


def recipe(url: str) -> dict[str, Any]:
    """As many PEPs and personas, as short as the stages allow: two cores write about 40 tokens a second."""
    return {
        "name": "weak",
        "base": "taught",
        "heldout_contexts": 1,
        "teaching": {
            "teachers": [
                {
                    "model": "SmolLM2-135M-Instruct",
                    "endpoints": [url],
                    "sampling": {"temperature": 0.7, "max_tokens": 200},
                    "repairs": 0,
                    "max_in_flight": 16,
                }
            ],
            "lengths": {"mean_segments": 18, "min_segments": 18, "max_segments": 18, "spread": 0},
            "dialogue": {"personas": EACH},
            "web": {"documents": EACH, "window_tokens": 16, "overlap_tokens": 4},
            "memory": {"share": 0.25, "segments_a_call": 9},
            "questions": {"a_context": 2},
            "annotation": {"temperature": 0, "max_tokens": 200},
            "verify": {"sampling": {"temperature": 0, "max_tokens": 160}},
        },
    }


@pytest.mark.vllm
def test_stages_end_to_end_though_vllm_is_killed(
    serve: Callable[..., Any],
    evo: Callable[..., Any],
    prefect_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EVO_VLLM_PYTHON", raising=False)
    monkeypatch.setenv("EVO_TEACHER_API_KEY", KEY)
    home, path = tmp_path / "home", tmp_path / "weak.json"
    upstream = {"url": ""}
    counter = serve(lambda _: "", model="SmolLM2-135M-Instruct", key=KEY)

    async def forward(body: str, send: Any) -> None:
        """To vLLM, counting what it answers; 502 while it is gone, as a router in front of it says."""
        counter.asked[body] += 1
        status, content = 502, b'{"error": {"message": "no server"}}'
        try:
            async with httpx.AsyncClient(timeout=600) as client:
                headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
                reply = await client.post(f"{upstream['url']}/chat/completions", content=body, headers=headers)
            status, content = reply.status_code, reply.content
        except httpx.HTTPError:
            pass
        counter.answered[body] += status == 200
        length = (b"content-length", str(len(content)).encode())
        headers_ = [(b"content-type", b"application/json"), length]
        await send({"type": "http.response.start", "status": status, "headers": headers_})
        await send({"type": "http.response.body", "body": content})

    counter._chat = forward
    path.write_text(json.dumps(recipe(counter.url)))
    assert evo("ingest", str(PEPS), home=home).returncode == 0

    with running(SERVER, tmp_path / "first") as first:
        upstream["url"] = first.url
        check = ("teacher", "check", first.url, "--model", "SmolLM2-135M-Instruct")
        assert "4096 tokens of context" in evo(*check, home=home).stdout
        assert "was rejected" in evo(*check, home=home, EVO_TEACHER_API_KEY="sk-wrong-key-of-this-test").stderr
        members = of_group(first.process.pid)
        assert len(members) >= 3  # the guard, the server, its engine
        command = warm.command("synthesize", str(path))
        environ = {**os.environ, "EVO_HOME": str(home), "PREFECT_API_URL": prefect_url}
        flow = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while counter.answered.total() < KILLED_AFTER and flow.poll() is None:
            time.sleep(0.1)
        os.killpg(first.process.pid, signal.SIGKILL)
    assert flow.poll() is None, "the flow ended before vLLM was killed"
    assert not set(members) & set(of_group(first.process.pid))
    assert KEY not in first.log.read_text()
    with running(SERVER, tmp_path / "second") as second:
        upstream["url"] = second.url
        _, told = flow.communicate(timeout=900)

    ledger = SqliteLedger.open(home)
    calls = {call.call_id: call for call in ledger.calls("weak")}
    # Of the few questions of a small run, none may be sound enough to be verified.
    stages = {call.stage for call in calls.values()}
    assert {"contexts", "questions"} <= stages <= {"contexts", "questions", "evidence", "verify"}
    assert not SOAKING or "verify" in stages
    assert len(calls) == counter.answered.total()  # every call is in the ledger...
    assert set(counter.answered.values()) <= {0, 1}  # ...and none was answered twice
    with Warehouse.open(home) as warehouse:
        outcomes = warehouse.query("SELECT * FROM outcomes").to_dicts()
        copied = warehouse.query("SELECT call_id FROM teacher_calls")["call_id"]
        failures = warehouse.query("SELECT * FROM failures").to_dicts()
        drafted = warehouse.query("SELECT count(*) FROM questions WHERE generator = 'SmolLM2-135M-Instruct'").item()
    assert flow.returncode == int(bool(failures)), told  # a part of what was asked for is not there
    assert set(copied) == set(calls)
    sources = {name for name in (o["item"] for o in outcomes) if not name.startswith("memory:")}
    assert len(sources) == 2 * EACH
    assert len(outcomes) == len({o["item"] for o in outcomes})
    for outcome in outcomes:
        assert outcome["contexts"] + outcome["failed_contexts"] == 1
        assert outcome["asked"] == outcome["drafted"] + outcome["failed"]
        assert outcome["drafted"] == outcome["accepted"] + outcome["rejected"]
    assert sum(o["drafted"] for o in outcomes) == drafted
    assert sum(o["failed"] + o["failed_contexts"] for o in outcomes) == len(failures)
    answered = counter.answered.total()
    assert evo("synthesize", str(path), home=home).returncode == flow.returncode
    assert counter.answered.total() == answered

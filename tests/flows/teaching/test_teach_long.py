"""Many episodes through faults, and many kills: the same dataset, and nothing paid for twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from evoembedding.flows.teaching.teach import pending_items, teach
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.episode import Document
from evoembedding.synth.documents import read_documents
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.ledger import SqliteLedger
from tests import warm
from tests.soak import count, only_soaking

PEPS = Path(__file__).parents[3] / "flows" / "examples" / "peps.parquet"
FAULTS = ("429", "500", "hang", "drop", "truncated", "wrong_schema", "empty", "not_json")
KILLS = count(2, 20)
EPISODES = count(150, 2000)
KEY = "sk-a-secret-of-this-test"


def settings(url: str, **teacher: Any) -> dict[str, Any]:
    return {
        "name": "long",
        "base": "taught",
        "heldout_contexts": 1,
        "teaching": {
            "teachers": [{"model": "scripted", "endpoints": [url], "timeout_s": 2.0, **teacher}],
            "lengths": {"mean_segments": 12, "min_segments": 9, "max_segments": 16},
            "dialogue": {"personas": count(30, 440), "events_a_plan": 64},
            "memory": {"share": 0.3},
        },
    }


def ingest(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        documents = [d for d in read_documents(str(PEPS)) if isinstance(d, Document)]
        warehouse.append("documents", to_frame(Document, documents))


@contextmanager
def apart(kind: type, truth: Any, rates: dict[str, float]) -> Iterator[tuple[str, Connection]]:
    """A teacher in a process of its own, so that it works while the flow does: its URL, and a line to it.

    At any word on the line it tells how often it gave its most repeated answer, and its faults.
    """
    ours, theirs = multiprocessing.Pipe()

    def work() -> None:
        server = kind(truth)
        server.rates = rates
        server.start()
        theirs.send(server.url)
        theirs.recv()
        theirs.send((max(server.answered.values()), dict(server.faults)))

    process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    process.start()
    yield ours.recv(), ours
    process.kill()
    process.join()


@only_soaking  # test_teach.py: faults do not change the dataset
def test_many_episodes_with_a_fifth_of_calls_faulty(serve: Callable[..., Any], truth: Any, tmp_path: Path) -> None:
    made: list[list[tuple[str, ...]]] = []
    for name in ("calm", "faulty"):
        # Answers that cannot be read are few: three of them end a request, and of 20,000 none is to end.
        rates = {**dict.fromkeys(FAULTS, 0.028), "not_json": 0.004} if name == "faulty" else {}
        home = tmp_path / name
        ingest(home)
        with apart(type(serve(truth)), truth, rates) as (url, line):
            chosen = Recipe.model_validate({k: v for k, v in settings(url).items() if k != "base"})
            with Warehouse.open(home) as warehouse:
                todo = pending_items(warehouse, chosen)
            new = teach(home, chosen, todo, lambda _: None)
            line.send("tell")
            most, faults = line.recv()
        assert new >= EPISODES
        assert most == 1  # no answer, good or malformed, was given twice
        with Warehouse.open(home) as warehouse:
            assert not pending_items(warehouse, chosen)
            assert warehouse.query("SELECT count(*) FROM outcomes").item() == len(todo)
            assert warehouse.query("SELECT count(*) FROM failures").item() == 0
            episodes = warehouse.query("SELECT episode_id, context_id, question, answer FROM episodes ORDER BY ALL")
        assert episodes["episode_id"].n_unique() == len(episodes)
        made.append(episodes.rows())
        if name == "faulty":
            assert sum(count for fault, count in faults.items() if fault) > 0.15 * sum(faults.values())
    assert made[0] == made[1]


@pytest.mark.slow
def test_kills_lose_nothing_and_repeat_nothing(
    serve: Callable[..., Any], truth: Any, evo: Callable[..., Any], prefect_url: str, tmp_path: Path
) -> None:
    server = serve(truth, key=KEY)
    path, home, whole = tmp_path / "long.json", tmp_path / "killed", tmp_path / "whole"
    chosen = settings(server.url, max_in_flight=4)
    chosen["teaching"]["dialogue"]["personas"] = count(12, 40)
    path.write_text(json.dumps(chosen))
    for folder in (home, whole):
        ingest(folder)

    server.latency_s = 0.08
    command = warm.command("synthesize", str(path))
    environ = {**os.environ, "EVO_HOME": str(home), "PREFECT_API_URL": prefect_url, "EVO_TEACHER_API_KEY": KEY}
    held: dict[str, int] = {}  # how often each call that the ledger held at a kill had been asked
    rng, kills = random.Random(0), 0
    while kills < KILLS:
        before = server.asked.total()
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if rng.random() < 0.85:  # else somewhere in its start
            while server.asked.total() == before and process.poll() is None:
                time.sleep(0.01)
        time.sleep(rng.uniform(0, 2.5))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        time.sleep(0.2)  # calls under way come to their end
        asked = by_messages(server.asked)
        ledger = SqliteLedger.open(home)
        for call in ledger.calls("long"):
            key = json.dumps(json.loads(ledger.request(call.call_id) or b"")["messages"], sort_keys=True)
            held.setdefault(key, asked[key])
        ledger.close()
    assert kills == KILLS, "the run was over before it was killed often enough"
    server.latency_s = 0.0
    done = evo("synthesize", str(path), home=home, EVO_TEACHER_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    asked = by_messages(server.asked)
    assert held
    assert not [key for key, times in held.items() if asked[key] > times], "a call in the ledger was asked again"
    in_flight = 4 * KILLS  # answers on their way when a kill came
    assert server.answered.total() - SqliteLedger.open(home).spent("long").calls <= in_flight

    assert evo("synthesize", str(path), home=whole, EVO_TEACHER_API_KEY=KEY).returncode == 0
    digests = []
    for folder in (home, whole):
        published = evo("dataset", "publish", "long", "--recipe", str(path), "--json", home=folder)
        assert published.returncode == 0, published.stderr
        digests.append(json.loads(published.stdout)["digest"])
    assert digests[0] == digests[1]
    for file in (file for file in tmp_path.rglob("*") if file.is_file()):
        assert KEY.encode() not in file.read_bytes(), file


def by_messages(bodies: Counter[str]) -> Counter[str]:
    """How often each list of messages was asked."""
    found: Counter[str] = Counter()
    for body, times in bodies.items():
        found[json.dumps(json.loads(body)["messages"], sort_keys=True)] += times
    return found

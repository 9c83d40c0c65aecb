"""The command as a user runs it: a process, its exit code and its one sentence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pytest

from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.lineage.trace import documents_of
from evoembedding.warehouse.openlineage.event_log import read_events
from tests import warm
from tests.runs import curve
from tests.soak import count, only_soaking

# Several partitions of contexts, each of which is one commit; of the command's own size while soaking.
CONTEXTS, PARTITION = str(count(400, 4000)), count(100, 2000)
STEPS = count(20, 40)
CUT = """
import sys
from evoembedding.flows import synthesize
from evoembedding.flows.commands.entry import main
assert "seeds" in synthesize.A_PARTITION
synthesize.A_PARTITION["seeds"] = int(sys.argv.pop(1))
main()
"""


def cut(*words: str) -> list[str]:
    """The command as a process, which commits smaller partitions."""
    return [sys.executable, "-c", CUT, str(PARTITION), *words]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "EVO_HOME": str(home), "COLUMNS": "200"}


def evo(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(words, environment(home))


T = TypeVar("T")


def wait_for(look: Callable[[], T | None], seconds: float = 300) -> T:
    """Ask `look` until it answers; the process that it watches may not have begun."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if (found := look()) is not None:
                return found
        except (StopIteration, FileNotFoundError):
            pass
        time.sleep(0.02)
    raise TimeoutError(f"nothing seen in {seconds} s")


@pytest.fixture(scope="module")
def world(demo: Any, tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Iterator[tuple[Path, str]]:
    """A finished smallest demo, and what it printed. The commands after it share one Prefect server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", prefect_url)
        yield demo.copy(tmp_path_factory.mktemp("world") / "home"), demo.printed


def test_demo_ends_with_funnel_scores_and_lineage(world: tuple[Path, str]) -> None:
    _, printed = world
    for part in ("Funnel", "simulator", "cloze", "Recall@1", "BM25", "model-", "smallest@1", "pep-"):
        assert part in printed


def test_second_demo_does_nothing(world: tuple[Path, str]) -> None:
    home, _ = world
    again = evo(home, "demo", "--smallest")
    assert again.returncode == 0
    assert "done already" in again.stdout


def test_trace_json_reaches_the_documents(world: tuple[Path, str]) -> None:
    home, _ = world
    lineage = json.loads(next((home / "runs").glob("*/model/lineage.json")).read_text())
    tree = json.loads(evo(home, "trace", lineage["model_id"], "--json").stdout)
    assert tree["id"] == lineage["model_id"]
    assert "pep-" in json.dumps(tree)


@pytest.mark.slow
def test_a_benchmark_file_that_changed_is_scored_anew_and_told_apart(world: tuple[Path, str], tmp_path: Path) -> None:
    home, _ = world
    model = json.loads(next((home / "runs").glob("*/model/lineage.json")).read_text())["model_id"]
    turns = ["I rent a flat above the bakery.", "How is the noise?", "My cat Brindle hates it.", "Mine sleeps all day."]
    said = [{"speaker": "AB"[n % 2], "dia_id": f"D1:{n + 1}", "text": text} for n, text in enumerate(turns)]
    asked = [
        {"question": "Where does A live?", "category": 4, "evidence": ["D1:1"]},
        {"question": "What is the name of the cat?", "category": 1, "evidence": ["D1:3"]},
        {"question": "Who is the vet?", "category": 1, "evidence": []},
    ]
    sample = {"sample_id": "x", "conversation": {"session_1_date_time": "8 May", "session_1": said}}
    scores = []
    for questions in (asked[1:], asked):
        path = tmp_path / "locomo.json"
        path.write_text(json.dumps([sample | {"qa": questions}]))
        words = ("evaluate", model, "--recipe", "smallest", "--benchmark", "locomo", "--path", str(path), "--json")
        done = evo(home, *words)
        assert done.returncode == 0, done.stderr
        scores.append(json.loads(done.stdout))
    for rows, questions in zip(scores, (1, 2), strict=True):
        overall = [row for row in rows if row["question_type"] == "all"]
        assert {(row["questions"], row["left_out"]) for row in overall} == {(questions, 1)}
        assert len({row["measured_on"] for row in rows}) == 1
    assert not {row["evaluation_id"] for row in scores[0]} & {row["evaluation_id"] for row in scores[1]}
    page = (home / "reports" / f"{model}.html").read_text(encoding="utf-8")
    assert page.count("1 question left out for want of evidence") == 2
    assert page.count("figures do not compare with those") == 1


def test_report_is_written_by_the_demo_and_by_hand(demo: Any, world: tuple[Path, str], tmp_path: Path) -> None:
    home, printed = world
    page = Path(printed.rsplit("report: ", 1)[1].strip())
    assert page.parent == demo.home / "reports"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    done = evo(home, "report", "smallest@1", "--output", str(tmp_path / "page.html"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"report": str(tmp_path / "page.html"), "bytes": (tmp_path / "page.html").stat().st_size}
    assert page.stem in (tmp_path / "page.html").read_text(encoding="utf-8")  # the model that was trained on it


def test_events_lead_from_the_scores_to_the_source_and_agree_with_the_foreign_keys(
    demo: Any, event_graph: type[Any], wrong_in_event: Callable[[dict[str, Any]], list[str]], tmp_path: Path
) -> None:
    home = demo.copy(tmp_path / "home")
    events = list(read_events(home))
    assert [wrong for event in events for wrong in wrong_in_event(event)] == []
    told = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
    parts = {"ingest.peps.parquet", "synthesize.smallest", "build_dataset.smallest", "train.smallest"}
    commands = {"publish.smallest", "shard.smallest"}
    assert set(told) >= {*parts, *commands, "evaluate.heldout", "pipeline.smallest"}
    whole = told["pipeline.smallest"]["run"]["runId"]
    assert {told[part]["run"]["facets"]["parent"]["run"]["runId"] for part in parts} == {whole}
    assert {told[part]["run"]["facets"]["parent"]["root"]["run"]["runId"] for part in commands} == {whole}
    assert {told[part]["job"]["facets"]["jobType"]["jobType"] for part in commands} == {"TASK"}
    graph = event_graph(events)
    with Warehouse.open(home) as warehouse:
        rows = warehouse.query(
            """SELECT model_id, shard_set_id, name || '@' || number AS label, m.digest AS weights, v.digest AS episodes
               FROM models m JOIN training_runs USING (training_run_id) JOIN shard_sets USING (shard_set_id)
               JOIN dataset_versions v USING (dataset_id)"""
        )
        documents = len(documents_of(warehouse, rows["model_id"][0]))
    assert len(rows) == 1
    for model_id, shard_set_id, label, weights, episodes in rows.iter_rows():
        model = graph.named(f"/models/{model_id}")
        above = graph.sources(model)
        kinds = ("/models/", "/shard_sets/", "/dataset_versions/")
        keys = {graph.named(f"/shard_sets/{shard_set_id}"), graph.named(f"/dataset_versions/{label}")}
        assert {name for name in above if any(kind in name for kind in kinds)} == keys
        assert documents
        assert {graph.named("/documents"), graph.named("examples/peps.parquet")} <= above
        assert {model, *above} <= graph.sources(graph.named("/evaluations"))
        versions = {
            one["name"].rpartition("/")[2]: one["facets"]["version"]["datasetVersion"]
            for event in events
            for one in event["outputs"]
        }
        assert (versions[model_id], versions[label]) == (weights, episodes)


def test_failed_flow_tells_its_sentence(
    prefect_url: str, tmp_path: Path, wrong_in_event: Callable[[dict[str, Any]], list[str]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", prefect_url)
        patch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")  # nobody listens there
        done = evo(tmp_path, "ingest", "/nowhere/x.txt")
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert "127.0.0.1:9 took no event" in first
    start, end = read_events(tmp_path)
    assert (start["eventType"], end["eventType"]) == ("START", "FAIL")
    assert f"evo: {end['run']['facets']['errorMessage']['message']}" == last
    assert wrong_in_event(start) + wrong_in_event(end) == []


@pytest.mark.slow
def test_interrupted_flow_is_aborted(
    prefect_url: str, tmp_path: Path, wrong_in_event: Callable[[dict[str, Any]], list[str]]
) -> None:
    words = cut("synthesize", "smallest", "--contexts", CONTEXTS)
    environ = {**environment(tmp_path), "PREFECT_API_URL": prefect_url}
    process = subprocess.Popen(words, env=environ, start_new_session=True)
    wait_for(lambda: list((tmp_path / "warehouse" / "data").rglob("episodes/**/*.parquet")) or None)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == 130
    start, end = read_events(tmp_path)
    assert (start["eventType"], end["eventType"]) == ("START", "ABORT")
    assert start["run"]["runId"] == end["run"]["runId"]
    assert wrong_in_event(end) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("report", "nothing@7"), "nothing@7"),
        (("train", "nothing@7"), "nothing@7"),
        (("trace", "model-none"), "model-none"),
        (("evaluate", "model-none"), "model-none"),
        (("evaluate", "MODEL", "--benchmark", "locomo", "--path", "/nowhere/x.json"), "/nowhere/x.json"),
        (("evaluate", "MODEL", "--benchmark", "locomo"), "--path"),
        (("evaluate", "MODEL", "--benchmark", "nothing"), "nothing"),
        (("dataset", "publish", "../x", "--recipe", "smallest"), "../x"),
        (("dataset", "publish", "a'; drop table episodes; --", "--recipe", "smallest"), "drop table"),
        (("dataset", "show", "x" * 300), "xxx"),
        (("synthesize", "nothing"), "nothing"),
        (("ingest", "/nowhere/x.txt"), "/nowhere/x.txt"),
    ],
)
def test_mistakes_are_one_sentence(world: tuple[Path, str], words: tuple[str, ...], says: str) -> None:
    home, _ = world
    model = next((home / "runs").glob("*/model/lineage.json"))
    identity = json.loads(model.read_text())["model_id"]
    done = evo(home, *(identity if word == "MODEL" else word for word in words))
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.jsonl", b"", "is empty"),
        ("latin.txt", b"caf\xe9", "not valid UTF-8"),
        ("broken.jsonl", b'{"text": \n[1]\n', "gave no document"),
        ("a'; drop table documents; --.parquet", b"PAR1", "damaged or cannot be read"),
    ],
)
def test_bad_files_are_one_sentence(
    world: tuple[Path, str], tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    done = evo(world[0], "ingest", str(tmp_path / name))
    assert done.returncode == 1
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr + done.stdout


def test_parquet_without_a_text_column_says_so(world: tuple[Path, str], tmp_path: Path) -> None:
    pl.DataFrame({"body": ["x"]}).write_parquet(tmp_path / "d.parquet")
    done = evo(world[0], "ingest", str(tmp_path / "d.parquet"))
    assert done.returncode == 1
    assert "text" in done.stderr
    assert "Traceback" not in done.stderr


def test_malformed_lines_are_told_and_kept_and_the_rest_is_ingested(world: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(b'{"text": "one of this test"}\n{"text": \n{"text": "two of this test"}\n')
    done = evo(world[0], "ingest", str(tmp_path / "d.jsonl"), "--json")
    assert done.returncode == 1  # a part of what was asked did not happen
    told = json.loads(done.stdout)
    assert (told["read"], told["new"], [f["item"] for f in told["failures"]]) == (2, 2, ["d.jsonl:2"])
    assert "d.jsonl:2" in done.stderr
    again = json.loads(evo(world[0], "ingest", str(tmp_path / "d.jsonl"), "--json").stdout)
    assert again["new"] == 0


@pytest.mark.slow
def test_damaged_shard_is_named_and_force_mends_it(world: tuple[Path, str]) -> None:
    home, _ = world
    shard = next((home / "shards").glob("*/shard-*.parquet"))
    good = shard.read_bytes()
    shard.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    bad = evo(home, "train", "smallest@1", "--recipe", "smallest", "--steps", "1")
    assert bad.returncode == 1
    assert shard.name in bad.stderr
    assert "--force" in bad.stderr
    assert "Traceback" not in bad.stderr
    assert evo(home, "shard", "smallest@1", "--recipe", "smallest", "--force").returncode == 0
    assert shard.read_bytes() == good


@pytest.mark.slow
def test_kill_in_synthesize_then_rerun_gives_the_same_digest(world: tuple[Path, str], tmp_path: Path) -> None:
    words = ("synthesize", "smallest", "--contexts", CONTEXTS)
    publish = ("dataset", "publish", "d", "--recipe", "smallest", "--contexts", CONTEXTS, "--json")
    home = tmp_path / "killed"
    process = subprocess.Popen(cut(*words), env=environment(home), start_new_session=True)
    wait_for(lambda: list((home / "warehouse" / "data").rglob("episodes/**/*.parquet")) or None)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    digests = []
    for folder in (home, tmp_path / "whole"):
        assert evo(folder, *words).returncode == 0
        digests.append(json.loads(evo(folder, *publish).stdout)["digest"])
    assert digests[0] == digests[1]


@only_soaking  # test_moved_home.py kills a training as well, and goes on with its copy
def test_kill_in_train_then_rerun_continues_the_curve(world: tuple[Path, str], tmp_path: Path) -> None:
    words = ("train", "smallest@1", "--recipe", "smallest", "--steps", str(STEPS), "--seed", "5")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for home in (killed, whole):
        shutil.copytree(world[0], home)
    process = subprocess.Popen(warm.command(*words), env=environment(killed), start_new_session=True)
    known = set((whole / "runs").iterdir())
    run = wait_for(lambda: next(r for r in (killed / "runs").iterdir() if whole / "runs" / r.name not in known))
    wait_for(lambda: len(curve(run)) >= 9 or None)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (run / "model").exists()
    for home in (killed, whole):
        assert evo(home, *words).returncode == 0
    assert [step for step, _ in curve(run)] == list(range(1, STEPS + 1))
    assert dict(curve(run)) == pytest.approx(dict(curve(whole / "runs" / run.name)))

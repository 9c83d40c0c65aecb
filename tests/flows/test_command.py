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
from typing import TypeVar

import polars as pl
import pytest

from flows.cli import app


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from flows.cli import main; main()", *words]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "EVO_HOME": str(home), "COLUMNS": "200"}


def evo(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), env=environment(home), capture_output=True, text=True, timeout=500)


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


def curve(run: Path) -> list[tuple[int, float]]:
    """(step, loss) of a training run's whole metric lines."""
    lines = (run / "metrics.jsonl").read_text().split("\n")[:-1]
    return [(row["step"], row["loss"]) for row in map(json.loads, lines)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Iterator[tuple[Path, str]]:
    """A finished smallest demo, and what it printed. The commands after it share one Prefect server."""
    home = tmp_path_factory.mktemp("world") / "not" / "there" / "yet"
    done = evo(home, "demo", "--smallest")
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", prefect_url)
        yield home, done.stdout


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


def test_report_is_written_by_the_demo_and_by_hand(world: tuple[Path, str], tmp_path: Path) -> None:
    home, printed = world
    page = Path(printed.rsplit("report: ", 1)[1].strip())
    assert page.parent == home / "reports"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    done = evo(home, "report", "smallest@1", "--output", str(tmp_path / "page.html"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"report": str(tmp_path / "page.html"), "bytes": (tmp_path / "page.html").stat().st_size}
    assert page.stem in (tmp_path / "page.html").read_text(encoding="utf-8")  # the model that was trained on it


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("report", "nothing@7"), "nothing@7"),
        (("train", "nothing@7"), "nothing@7"),
        (("trace", "model-none"), "model-none"),
        (("evaluate", "model-none"), "model-none"),
        (("dataset", "publish", "../x", "--recipe", "smallest"), "../x"),
        (("dataset", "publish", "a'; drop table episodes; --", "--recipe", "smallest"), "drop table"),
        (("dataset", "show", "x" * 300), "xxx"),
        (("synthesize", "nothing"), "nothing"),
        (("ingest", "/nowhere/x.txt"), "/nowhere/x.txt"),
    ],
)
def test_mistakes_are_one_sentence(world: tuple[Path, str], words: tuple[str, ...], says: str) -> None:
    home, _ = world
    done = evo(home, *words)
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
        ("a'; drop table documents; --.parquet", b"PAR1", "not a readable Parquet"),
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
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["read"], told["new"], [f["item"] for f in told["failures"]]) == (2, 2, ["d.jsonl:2"])
    assert "d.jsonl:2" in done.stderr
    again = json.loads(evo(world[0], "ingest", str(tmp_path / "d.jsonl"), "--json").stdout)
    assert again["new"] == 0


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
    words = ("synthesize", "smallest", "--contexts", "4000")
    publish = ("dataset", "publish", "d", "--recipe", "smallest", "--contexts", "4000", "--json")
    home = tmp_path / "killed"
    process = subprocess.Popen(command(*words), env=environment(home), start_new_session=True)
    wait_for(lambda: list((home / "warehouse" / "data").rglob("episodes/**/*.parquet")) or None)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    digests = []
    for folder in (home, tmp_path / "whole"):
        assert evo(folder, *words).returncode == 0
        digests.append(json.loads(evo(folder, *publish).stdout)["digest"])
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_kill_in_train_then_rerun_continues_the_curve(world: tuple[Path, str], tmp_path: Path) -> None:
    words = ("train", "smallest@1", "--recipe", "smallest", "--steps", "40", "--seed", "5")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for home in (killed, whole):
        shutil.copytree(world[0], home)
    process = subprocess.Popen(command(*words), env=environment(killed), start_new_session=True)
    known = set((whole / "runs").iterdir())
    run = wait_for(lambda: next(r for r in (killed / "runs").iterdir() if whole / "runs" / r.name not in known))
    wait_for(lambda: len(curve(run)) >= 15 or None)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (run / "model").exists()
    for home in (killed, whole):
        assert evo(home, *words).returncode == 0
    assert [step for step, _ in curve(run)] == list(range(1, 41))
    assert dict(curve(run)) == pytest.approx(dict(curve(whole / "runs" / run.name)))


def test_every_command_has_an_example() -> None:
    for registered in app.registered_commands:
        assert registered.epilog
        assert registered.epilog.startswith("Example: evo")


def test_readme_lists_every_command_and_every_file() -> None:
    root = Path(__file__).parents[2]
    readme = (root / "README.md").read_text()
    for registered in app.registered_commands:
        name = registered.name or (registered.callback.__name__ if registered.callback else "")
        assert f"`evo {name}" in readme
    rooms = ("schemas", "warehouse", "synth", "trainer", "evaluation", "flows")
    for path in (p for room in rooms for p in (root / room).rglob("*.py") if p.name != "__init__.py"):
        assert path.name in readme, path

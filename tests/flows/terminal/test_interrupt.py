"""Ctrl-C in a terminal: the sentence and 130 within five seconds, nothing left behind, the same result after it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evoembedding.flows.build_dataset import publish_version
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from tests import warm
from tests.soak import count

WITHIN_S = 5.0  # the promise
CONTEXTS = count(300, 3000)
STEPS = count(12, 40)
START = ("-m", "evoembedding")
WORK: dict[str, tuple[str, ...]] = {
    "synthesize": ("synthesize", "smallest", "--contexts", str(CONTEXTS)),
    "train": ("train", "small@1", "--recipe", "smallest", "--steps", str(STEPS), "--seed", "7"),
    "evaluate": ("evaluate", "MODEL", "--recipe", "smallest", "--json"),
}
# Training has the most processes to end, in sessions of their own; the others end as it does, and are soaked.
TRIED = count(("train",), ("synthesize", "train", "evaluate"))
BEGUN = f"step 3/{STEPS}".encode()  # of a single moment, the time would hit the start of Prefect's server
RESULT = {  # what is the same after any number of interruptions
    "synthesize": "SELECT count(*), bit_xor(hash(episode_id)) FROM lake.episodes",
    "train": "SELECT model_id, digest FROM lake.models",
    "evaluate": "SELECT count(*), bit_xor(hash(evaluation_id, value)) FROM lake.evaluations",
}


class Interrupted(NamedTuple):
    """How a command ended: its code, what it told, and the seconds since the signal (None: it ended by itself)."""

    code: int
    told: str
    seconds: float | None


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return {**kept, "EVO_HOME": str(home), "OMP_NUM_THREADS": "1", **more}


def interrupt(home: Path, words: tuple[str, ...], after: float, begun: bytes = b"") -> Interrupted:
    """Press Ctrl-C in the command's terminal, some seconds after it has told what `begun` says."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.execve(sys.executable, [sys.executable, *START, *words], environment(home))
    told, pressed = b"", None
    began = None if begun else time.monotonic()
    while True:
        if select.select([terminal], [], [], 0.02)[0]:
            try:
                told += os.read(terminal, 65536)
            except OSError:  # the last process that holds the terminal has left it
                break
        now = time.monotonic()
        if began is None and begun in told:
            began = now
        if pressed is None and began is not None and now - began >= after:
            os.write(terminal, b"\x03")
            pressed = now
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    seconds = time.monotonic() - pressed if pressed else None
    return Interrupted(os.waitstatus_to_exitcode(status), told.decode(errors="replace"), seconds)


def living(home: Path) -> list[str]:
    """The processes of a state folder, by their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"EVO_HOME={home}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def gone(home: Path, seconds: float = 2.0) -> list[str]:
    """The processes that are still there after a moment: what is killed takes one to go."""
    deadline = time.monotonic() + seconds
    while (left := living(home)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def run(home: Path, words: tuple[str, ...], prefect_url: str) -> float:
    """The command by itself; the seconds that it took."""
    began = time.monotonic()
    environ = environment(home, PREFECT_API_URL=prefect_url)
    if count(1, 10) == 1:
        done = warm.run(words, environ)
    else:  # the moments are parts of the time that a process takes, its imports included
        done = subprocess.run([sys.executable, *START, *words], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def result(home: Path, command: str) -> tuple[Any, ...]:
    with Warehouse.open(home) as warehouse:
        return warehouse.query(RESULT[command]).row(0)


class Reference(NamedTuple):
    """A state folder before a command, how long the command takes, and what it gives."""

    before: Path
    words: tuple[str, ...]
    seconds: float
    result: tuple[Any, ...]


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> dict[str, Reference]:
    """Each command once, not interrupted."""
    found = {}
    folder: Path = tmp_path_factory.mktemp("reference")
    (folder / "synthesize").mkdir()
    small = recipe("smallest").replace(name="small", cloze=None, heldout_contexts=1)
    with Warehouse.open(folder / "train") as warehouse:
        commit_drafts(warehouse, simulate(SimulatorConfig(contexts=64), 0, 64))
    publish_version.fn(folder / "train", "small", small)
    for command in TRIED:
        words, after = WORK[command], folder / f"{command}-after"
        shutil.copytree(folder / command, after)
        seconds = run(after, words, prefect_url)
        found[command] = Reference(folder / command, words, seconds, result(after, command))
        if command == "train":
            shutil.copytree(after, folder / "evaluate")
            WORK["evaluate"] = tuple(found["train"].result[0] if w == "MODEL" else w for w in WORK["evaluate"])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", TRIED)
def test_ctrl_c_at_any_moment(references: dict[str, Reference], command: str, prefect_url: str, tmp_path: Path) -> None:
    before, words, seconds, expected = references[command]
    moments = count(1, 10)
    interrupted = 0
    for moment in range(moments):
        home = tmp_path / f"home-{moment}"
        shutil.copytree(before, home)
        if moments == 1:
            ended = interrupt(home, words, 0.0, BEGUN)
        else:
            after = (seconds + 4) * (moment + 0.5) / moments  # which a server of its own takes to start, or more
            ended = interrupt(home, words, after)
        assert gone(home) == []
        if ended.seconds is None:
            assert ended.code == 0, ended.told
            continue
        interrupted += 1
        assert ended.code == 130, ended.told
        assert "evo: interrupted" in ended.told.splitlines()[-1]
        assert "Traceback" not in ended.told
        assert ended.seconds < WITHIN_S
        if moment == moments - 1 or moments == 10:
            run(home, words, prefect_url)
            assert result(home, command) == expected
        shutil.rmtree(home)
    assert interrupted


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ((signal.SIGKILL,), -signal.SIGKILL),
        ((signal.SIGTERM,), 128 + signal.SIGTERM),
        ((signal.SIGINT, signal.SIGINT, signal.SIGINT), 130),
    ],
    ids=["killed", "terminated", "impatient"],
)
def test_prefects_server_ends_with_the_command(tmp_path: Path, signals: tuple[int, ...], code: int) -> None:
    words = [sys.executable, *START, *WORK["synthesize"]]
    process = subprocess.Popen(words, env=environment(tmp_path), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not any("prefect_process" in command for command in living(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.01)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in told
    assert told.count("evo: interrupted") == int(code > 0)
    assert gone(tmp_path, WITHIN_S) == []

"""Files and folders are whole or absent: of two writers, of one that was killed, of one that failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from evoembedding.schemas.files import whole, whole_folder, write_whole
from evoembedding.schemas.leases import leased, unused

KINDS = [whole, whole_folder]
Kind = Callable[[Path], AbstractContextManager[Path]]
# Writes in a process of its own, and waits there to be killed.
WRITER = """
import sys, time
from pathlib import Path
from evoembedding.schemas.files import whole, whole_folder
with {kind}(Path(sys.argv[1])) as partial:
    (partial / "x" if partial.is_dir() else partial).write_text("half")
    print(partial, flush=True)
    time.sleep(600)
"""


def fill(partial: Path, text: str) -> None:
    (partial / "x" if partial.is_dir() else partial).write_text(text)


def read(path: Path) -> str:
    return (path / "x" if path.is_dir() else path).read_text()


def writer(kind: Kind, path: Path) -> tuple[subprocess.Popen[str], Path]:
    words = [sys.executable, "-c", WRITER.format(kind=kind.__name__), str(path)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environ)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("kind", KINDS)
def test_two_writers_do_not_meet(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "a[1]*"
    with kind(path) as first:
        fill(first, "first")
        with kind(path) as second:
            assert second != first
            fill(second, "second")
        assert read(path) == "second"
    assert read(path) == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_leaves_what_was_there(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with kind(path) as partial:
        fill(partial, "good")
    with pytest.raises(KeyboardInterrupt), kind(path) as partial:
        fill(partial, "half")
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError), kind(path):
        raise FileNotFoundError  # the caller's, not a sign that the partial was removed
    assert read(path) == "good"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_live_one_s_is_not(kind: Kind, tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "a.b.partial"
    other.write_text("a user's")
    live, writing = writer(kind, path)
    dead, left = writer(kind, path)
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    with unused(left, tmp_path) as free, unused(writing, tmp_path) as taken:
        assert (free, taken) == (True, False)
    with kind(path) as partial:
        fill(partial, "done")
    assert {one.name for one in tmp_path.iterdir()} == {"a", other.name, writing.name}
    live.kill()
    live.wait()


def test_what_lies_in_a_leased_folder_is_in_use(tmp_path: Path) -> None:
    inside = tmp_path / "run" / "checkpoints" / "x.partial"
    inside.mkdir(parents=True)
    with leased(tmp_path / "run") as there, unused(inside, tmp_path) as free:
        assert (there, free) == (True, False)
    with unused(inside, tmp_path) as free:
        assert free


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    for name in ("n" * 255, "ß" * 127):
        write_whole(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"
    assert len(list(tmp_path.iterdir())) == 2

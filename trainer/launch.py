"""Start a training job's processes, pass on what they say, and stop them all when one fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path

from schemas.configs import TrainConfig
from schemas.errors import EvoError
from trainer.loop import MODEL, Job

TAIL = 20  # lines of standard error kept for the message


def launch(
    shards: Path,
    tokenizer: Path,
    config: TrainConfig,
    out: Path,
    nproc: int = 1,
    on_line: Callable[[str], None] = print,
) -> Path:
    """Train on `nproc` ranks of this machine; returns the model folder.

    Args:
        out: the run's folder: metrics, checkpoints, model, and each rank's log.
        on_line: takes each line of progress.

    Raises:
        EvoError: a rank failed; the others are stopped, and a rerun resumes at the last checkpoint.
    """
    out.mkdir(parents=True, exist_ok=True)
    rendezvous = out / f"rendezvous-{uuid.uuid4().hex}"
    job = Job(shards=str(shards), tokenizer=str(tokenizer), out=str(out), rendezvous=str(rendezvous), config=config)
    job_path = out / "job.json"
    job_path.write_text(job.model_dump_json(indent=1))
    processes = [_start(job_path, rank, nproc, out) for rank in range(nproc)]
    reader = threading.Thread(target=_pass_on, args=(processes[0], on_line), daemon=True)
    reader.start()
    try:
        failed = _wait(processes)
        reader.join(timeout=10)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        rendezvous.unlink(missing_ok=True)
    if failed is not None:
        raise EvoError(_reason(out, failed, processes[failed].returncode))
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


def _pass_on(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> None:
    for line in process.stdout or ():
        if line.startswith(("step ", "resumed ")):  # DeepSpeed writes its own log there as well
            on_line(line.rstrip())


def _wait(processes: list[subprocess.Popen[str]]) -> int | None:
    """The first rank that fails, or None when all end well."""
    waiting = dict(enumerate(processes))
    while waiting:
        for rank, process in list(waiting.items()):
            try:
                code = process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
            del waiting[rank]
            if code:
                return rank
    return None


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

"""Start a training job's processes, pass on what they say, and stop them all when one fails."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.endings import at_the_end
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import PARTIAL
from evoembedding.schemas.leases import leased
from evoembedding.trainer.training.checkpoints import newest_state
from evoembedding.trainer.training.hosts import LOST, Host, read_hostfile, ssh_command
from evoembedding.trainer.training.job import CHECKPOINTS, METRICS, MODEL, Job
from evoembedding.trainer.training.published import bring_checkpoints
from evoembedding.warehouse.root import Root
from evoembedding.warehouse.shards.shard_sets import check_shards

TAIL = 20  # lines of standard error kept for the message
SETTLE_S = 2.0  # when a rank is killed, the others fail soon after, and may be seen first


class RankLostError(EvoError):
    """A rank was killed, or its machine went away: nothing is wrong with the job, which can go on."""


class Place(NamedTuple):
    """Where a rank runs: a machine of the hostfile, or this one (None), and its number there."""

    host: str | None
    local: int


def launch(
    shards: Path,
    tokenizer: Path,
    config: TrainConfig,
    out: Path,
    nproc: int = 1,
    on_progress: Callable[[dict[str, Any]], None] = print,
    on_line: Callable[[str], None] = lambda line: None,
    hostfile: Path | None = None,
    ssh_config: Path | None = None,
    root: Root | None = None,
) -> Path:
    """Train on `nproc` ranks of this machine, or on a hostfile's machines; returns the model folder.

    Args:
        out: the run's folder: metrics, checkpoints, model, and each rank's log.
        on_progress: takes now and then a row of metrics, with `steps`, `resumed_at` and `seconds_left`.
        on_line: takes what the ranks write on standard error, a line at a time, from several threads.
        hostfile: DeepSpeed's; started over ssh, all machines see the same folders.
        root: of the state folder that `out` lies in: checkpoints are published there, and looked for.

    Raises:
        RankLostError: a rank was killed; the others are then stopped, and a rerun goes on from the last checkpoint.
        EvoError: another process trains this run, the shards are damaged, the ranks do not divide a step's batches,
            or a rank failed.
    """
    places = _places(nproc, read_hostfile(hostfile) if hostfile else [])
    if config.batches_per_step % len(places):
        fitting = -(-config.batches_per_step // len(places)) * len(places)
        raise EvoError(
            f"{len(places)} ranks cannot share the {config.batches_per_step} batches of a step evenly; nothing was "
            f"trained; add --batches-per-step {fitting}, or use a number of ranks that divides it"
        )
    # Before the run's folder is made: damaged shards leave nothing behind.
    if not check_shards(shards).rows:
        raise EvoError(f"shard set {shards.name} is empty; nothing was trained; publish episodes first")
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        lock = held.enter_context((out / "lock").open("w"))  # not on the folder: other machines are to see it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets it go when we end, however we end
        except OSError as error:
            raise EvoError(
                f"run '{out.name}' is being trained by another process; nothing was started; wait"
            ) from error
        held.enter_context(leased(out))
        for left in out.glob(f"rendezvous-*{PARTIAL}"):
            left.unlink()
        # Under the lock: no other process writes or drops checkpoints meanwhile.
        if root:
            bring_checkpoints(root, out)
        checkpoint, damaged = newest_state(out / CHECKPOINTS, out / METRICS)
        for what in damaged:
            on_line(f"{what}; going on from {checkpoint.name if checkpoint else 'the start'}")
        # Of a new name: through the file of an earlier start ranks would look for those that are gone.
        rendezvous = out / f"rendezvous-{uuid.uuid4().hex}{PARTIAL}"
        job = Job(
            shards=str(shards.absolute()),
            tokenizer=str(tokenizer.absolute()),
            out=str(out.absolute()),
            rendezvous=str(rendezvous.absolute()),
            master=places[0].host or "",
            checkpoint=str(checkpoint.absolute()) if checkpoint else "",
            home=str(root.home.absolute()) if root else "",
            root=root.url if root else "",
            config=config,
        )
        try:
            model = _run(job, out, places, ssh_config, on_progress, on_line)
            for left in out.glob("rank-*.log.1"):  # of a start that was broken off, and has been made good
                left.unlink()
            return model
        finally:
            rendezvous.unlink(missing_ok=True)


def _places(nproc: int, hosts: Sequence[Host]) -> list[Place]:
    if hosts:
        return [Place(host.name, local) for host in hosts for local in range(host.slots)]
    return [Place(None, local) for local in range(nproc)]


def _run(
    job: Job,
    out: Path,
    places: list[Place],
    ssh_config: Path | None,
    on_progress: Callable[[dict[str, Any]], None],
    on_line: Callable[[str], None],
) -> Path:
    job_path = out / "job.json"
    job_path.write_text(job.model_dump_json(indent=1))
    processes: list[subprocess.Popen[str]] = []
    failed: list[int] = []
    began = False
    threads: list[threading.Thread] = []
    with at_the_end(lambda: _kill(processes)):
        try:
            processes += (_start(job_path.absolute(), rank, places, ssh_config) for rank in range(len(places)))
            threads += (threading.Thread(target=_keep, args=(out, r, p, on_line)) for r, p in enumerate(processes))
            watcher = threading.Thread(target=_watch, args=(processes, failed))
            for thread in (*threads, watcher):
                thread.daemon = True
                thread.start()
            for line in processes[0].stdout or ():
                if line.startswith("{"):  # DeepSpeed writes its own log there as well
                    began = True
                    on_progress(json.loads(line))
            watcher.join()
        finally:
            _stop(processes)
            for thread in threads:
                if thread.ident:
                    thread.join(SETTLE_S)
    if failed:
        raise _reason(out, failed, [process.returncode for process in processes], began)
    return out / MODEL


def _start(job: Path, rank: int, places: list[Place], ssh_config: Path | None) -> subprocess.Popen[str]:
    here = places[rank]
    beside = sum(place.host == here.host for place in places)
    environment = {
        "RANK": str(rank),
        "LOCAL_RANK": str(here.local),
        "WORLD_SIZE": str(len(places)),
        # DeepSpeed compiles its CPU communication with the ninja beside our Python.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    command = [sys.executable, "-m", "evoembedding.trainer.training.loop", str(job)]
    if here.host:
        command = ssh_command(here.host, command, environment, ssh_config)
    else:
        # Each rank would take all cores.
        threads = max(1, len(os.sched_getaffinity(0)) // beside)
        environment["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(threads))
        # All ranks are here: none listens to the network.
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # it closes when we go, also by kill -9: `loop.end_with_parent`
        stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **({} if here.host else environment)},
        start_new_session=True,  # the terminal's Ctrl-C is for us; and what a rank compiles ends with it
    )


def _keep(out: Path, rank: int, process: subprocess.Popen[str], on_line: Callable[[str], None]) -> None:
    """Write a rank's standard error to its log, beside that of the start before, and pass it on."""
    path = out / f"rank-{rank}.log"
    if path.exists():
        path.replace(path.with_suffix(".log.1"))
    with path.open("w") as log:
        for line in process.stderr or ():
            log.write(line)
            log.flush()
            on_line(f"rank {rank}: {line.rstrip()}")


def _watch(processes: list[subprocess.Popen[str]], failed: list[int]) -> None:
    """Wait for all ranks; when one fails, note it with those that fail with it, and stop the others.

    They would wait for it for ever.
    """
    while any(process.poll() is None for process in processes):
        if any(process.poll() for process in processes):
            time.sleep(SETTLE_S)
            break
        time.sleep(0.1)
    failed += [rank for rank, process in enumerate(processes) if process.poll()]
    _stop(processes)


def _stop(processes: list[subprocess.Popen[str]]) -> None:
    _kill(processes)
    for process in processes:
        process.wait()


def _kill(processes: list[subprocess.Popen[str]]) -> None:
    """The ranks, with what they have started."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _reason(out: Path, failed: list[int], codes: list[int], began: bool) -> EvoError:
    """What to say of ranks that failed: a sentence that one wrote, or which one was killed, or the first's last line.

    A rank that loses another fails too, and says only that. A machine that cannot be reached is a mistake, and not a
    lost rank, as long as no step was made.
    """
    logs = {rank: out / f"rank-{rank}.log" for rank in failed}
    tails = {rank: deque(log.read_text().splitlines(), maxlen=TAIL) for rank, log in logs.items()}
    for lines in tails.values():
        sentences = [line.removeprefix("evo: ") for line in lines if line.startswith("evo: ")]
        if sentences:
            return EvoError(sentences[-1])
    killed = [rank for rank in failed if codes[rank] < 0 or (codes[rank] == LOST and began)]
    rank = (killed or failed)[0]
    last = next((line for line in reversed(tails[rank]) if line.strip()), "it wrote nothing")
    sentence = (
        f"training rank {rank} ended with code {codes[rank]}: {last.strip()}; the last checkpoint is kept, "
        f"so the same command goes on from it; its log is {logs[rank]}"
    )
    return RankLostError(sentence) if killed else EvoError(sentence)

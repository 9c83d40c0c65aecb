"""A training process: one rank of a job, started by `trainer.launch`.

    python -m trainer.loop JOB.json

Everything random follows from the config's seed and the step, so a resumed job gives the same curve.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import torch
from transformers.utils import logging as transformers_logging

from schemas.errors import EvoError
from schemas.files import write_whole
from trainer.batches import Batch, Schedule, collate
from trainer.checkpoint import save_model
from trainer.engine import Engine
from trainer.job import CHECKPOINTS, METRICS, MODEL, Job
from trainer.model import EvoModel, Losses
from trainer.text import EvoTokenizer
from warehouse.shards import read_shards

REPORTS = 40  # rows of progress a job tells its launcher


def run(job: Job) -> None:
    """Train to the config's last step, resuming at the newest checkpoint, and write the model folder.

    Raises:
        EvoError: the shards are damaged or empty, or the loss is no longer a number.
    """
    config, out = job.config, Path(job.out)
    join(job.rendezvous)
    rows = read_shards(Path(job.shards))
    if rows.is_empty():
        raise EvoError(f"shard set {Path(job.shards).name} is empty; nothing was trained; publish episodes first")
    tokenizer = EvoTokenizer.load(Path(job.tokenizer))
    torch.set_flush_denormal(True)  # tiny numbers of no consequence are slow on a CPU
    torch.manual_seed(config.seed)
    engine = Engine(EvoModel(config, tokenizer.vocabulary), config)
    schedule = Schedule(rows["tokens"].to_list(), config.batch_episodes, config.token_budget, engine.ranks, config.seed)
    done = engine.resume(out / CHECKPOINTS)
    metrics = Metrics(out / METRICS, done) if engine.rank == 0 else None
    for step in range(done, config.steps):
        row = train_step(engine, read(rows, schedule.rows(step, engine.rank)), step)
        if metrics:
            metrics.write(row)
            metrics.report(row, config.steps)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            engine.save(out / CHECKPOINTS, step + 1)
    if engine.rank == 0:
        save_model(engine.model, tokenizer, out / MODEL)


def train_step(engine: Engine, batch: Batch, step: int) -> dict[str, Any]:
    """One update; its row of metrics."""
    torch.manual_seed(engine.config.seed * 1_000_003 + step * engine.ranks + engine.rank)
    started, rate = time.monotonic(), engine.learning_rate
    losses = engine.forward(batch)
    stop_if_not_finite(losses, batch, step)
    norm = engine.step(losses)
    parts = [float(losses.total.detach()), float(losses.contrastive), float(losses.memory), batch.padding]
    total, contrastive, memory, padding = engine.mean(parts)
    seconds = time.monotonic() - started
    return {
        "step": step + 1,
        "loss": total,
        "contrastive_loss": contrastive,
        "memory_loss": memory,
        "learning_rate": rate,
        "gradient_norm": norm,
        "contexts": len(batch.context_ids),
        "episodes": len(batch.episode_ids),
        "tokens": batch.tokens,
        "padding": padding,
        "seconds": seconds,
    }


def stop_if_not_finite(losses: Losses, batch: Batch, step: int) -> None:
    """Stop before the update that would spoil the weights.

    Raises:
        EvoError: the loss is NaN or infinite.
    """
    loss = float(losses.total.detach())
    if not math.isfinite(loss):
        named = ", ".join(batch.episode_ids[:8])
        raise EvoError(
            f"the loss is {loss} at step {step + 1}, on episodes {named} and "
            f"{max(0, len(batch.episode_ids) - 8)} more; the weights would be lost; the last checkpoint is kept: "
            "lower the learning rate, or look at these episodes with 'evo trace'"
        )


def read(rows: pl.DataFrame, indices: list[int]) -> Batch:
    """The batch of these shard rows."""
    return collate(rows[indices].to_dicts())


class Metrics:
    """`metrics.jsonl`, a row a step. A resumed job drops the rows after its checkpoint: they are computed again."""

    def __init__(self, path: Path, done: int) -> None:
        self._path, self._since = path, time.monotonic()
        kept = path.read_text().split("\n")[:done] if path.exists() and done else []
        write_whole(path, "".join(line + "\n" for line in kept))
        self._file = path.open("a")
        self._first = done

    def write(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def report(self, row: dict[str, Any], steps: int) -> None:
        """Now and then, tell the launcher on standard output."""
        step = row["step"]
        if step == self._first + 1 or step % max(1, steps // REPORTS) == 0 or step == steps:
            left = (time.monotonic() - self._since) / (step - self._first) * (steps - step)
            told = {**row, "steps": steps, "resumed_at": self._first, "seconds_left": left}
            print(json.dumps(told), flush=True)


def join(rendezvous: str) -> None:
    """Meet the other ranks through a file: no port is opened, and gloo stays on loopback."""
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{rendezvous}",
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


def end_with_parent() -> None:
    """Leave when the launcher goes, even by kill -9: its end of our standard input closes then."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # not through sys.stdin, whose lock would be held at exit
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Run one rank; an error is one sentence on standard error."""
    end_with_parent()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    job = Job.model_validate_json(Path(sys.argv[1]).read_text())
    try:
        run(job)
    except EvoError as error:
        print(f"evo: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()

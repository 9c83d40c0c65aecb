"""A training process: one rank of a job, started by `trainer.training.launch`.

    python -m evoembedding.trainer.training.loop JOB.json

Everything random follows from the config's seed, the step and the batch's place in it, so a job that is resumed, or
runs on another number of ranks, gives the same curve.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.model.batches import Batch, Schedule, collate, dealt
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model_folder import save_model
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer
from evoembedding.trainer.training.checkpoints import WEIGHT, State, read_state, write_state
from evoembedding.trainer.training.engine import Engine, join, learning_rate
from evoembedding.trainer.training.job import CHECKPOINTS, METRICS, MODEL, Job
from evoembedding.trainer.training.metrics import COLUMNS, Metrics, combined, first_not_finite, measured
from evoembedding.trainer.training.published import publish_checkpoint
from evoembedding.trainer.training.rows import Rows
from evoembedding.warehouse.root import Root

Step = dict[int, Batch]  # a rank's batches of a step, by their place in it


class Feed:
    """What one rank reads, a step ahead of its use."""

    def __init__(self, rows: Rows, schedule: Schedule, rank: int, ranks: int) -> None:
        self._rows, self._schedule, self._rank, self._ranks = rows, schedule, rank, ranks

    def steps(self, first: int, stop: int) -> Iterator[tuple[int, Step]]:
        """Each zero-based step from `first` on, with its batches."""
        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(self._read, first)
            for step in range(first, stop):
                batches = ahead.result()
                if step + 1 < stop:
                    ahead = thread.submit(self._read, step + 1)
                yield step, batches

    def episodes(self, step: int, index: int | None = None) -> list[str]:
        """The episodes of a step's batch at `index`, or of all its batches, whichever rank reads them."""
        batches = self._schedule.batches(step)
        chosen = batches if index is None else [batches[index]]
        return [q["episode_id"] for batch in chosen for row in self._rows.read(batch) for q in row["questions"]]

    def _read(self, step: int) -> Step:
        batches = self._schedule.batches(step)
        return {i: collate(self._rows.read(batches[i])) for i in dealt(len(batches), self._rank, self._ranks)}


def run(job: Job) -> None:
    """Train to the config's last step, going on from the job's checkpoint, and write the model folder.

    Raises:
        EvoError: the loss or the gradient is no longer a number, or the checkpoint does not fit the model.
    """
    config, out = job.config, Path(job.out)
    join(Path(job.rendezvous), job.master)
    rows = Rows(Path(job.shards))
    tokenizer = EvoTokenizer.load(Path(job.tokenizer))
    torch.set_flush_denormal(True)  # tiny numbers of no consequence are slow on a CPU
    # Before the model, whose first weights are drawn by it: alike on all ranks.
    torch.manual_seed(config.seed)
    model = EvoModel(config, tokenizer.vocabulary)
    done, state = read_state(Path(job.checkpoint)) if job.checkpoint else (0, {})
    if state:
        # Before the engine, which parts or copies them.
        load_weights(model, state, job.checkpoint)
    check_positions(model, max(rows.tokens, default=0))
    engine = Engine(model, config)
    feed = Feed(rows, Schedule(rows.tokens, config), engine.rank, engine.ranks)
    metrics = Metrics(out / METRICS, done) if engine.rank == 0 else None
    for step, batches in feed.steps(done, config.steps):
        if state:
            train_step(engine, feed, batches, step, rate=0.0)  # see `Engine.restore`
            engine.restore(done, state)
            state = {}
        row = train_step(engine, feed, batches, step, learning_rate(step, config))
        if metrics:
            metrics.write(row)
            metrics.report(row, config.steps)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            # On all ranks: under ZeRO each holds a part.
            whole = engine.state()
            if engine.rank == 0:
                write_state(out / CHECKPOINTS, step + 1, whole, out / METRICS)
                if job.root:
                    publish_checkpoint(Root(Path(job.home), job.root), out)
    with engine.gathered():
        if engine.rank == 0:
            save_model(model, tokenizer, out / MODEL)


def train_step(engine: Engine, feed: Feed, batches: Step, step: int, rate: float) -> dict[str, Any]:
    """One update; its row of metrics.

    Raises:
        EvoError: on every rank, if a loss or the gradient of any rank is not a number.
    """
    started = time.monotonic()
    config = engine.config
    table = torch.zeros(config.batches_per_step, len(COLUMNS), dtype=torch.float64, device=engine.device)
    for index, batch in batches.items():
        # By the batch's place and by no rank: on any number of ranks its dropout is the same.
        torch.manual_seed(random.Random(f"{config.seed}-{step}-{index}").getrandbits(63))
        losses = engine.accumulate(batch)
        table[index] = measured(engine.model, batch, losses, engine.peak_gib)
    sums = engine.sum(table).tolist()  # the one wait for the device before the update
    if (spoiled := first_not_finite(sums)) is not None:
        raise _spoiled(f"the loss is {sums[spoiled][0]}", step, feed.episodes(step, spoiled))
    norm = engine.update(rate)
    if not math.isfinite(norm):
        raise _spoiled(f"the gradient's norm is {norm}", step, feed.episodes(step))
    seconds = time.monotonic() - started
    row = combined(sums)
    return {
        "step": step + 1,
        **row,
        "learning_rate": rate,
        "gradient_norm": norm,
        "tokens_per_second": row["tokens"] / seconds,
        "seconds": seconds,
    }


def check_positions(model: EvoModel, longest: int) -> None:
    """Refuse a backbone whose positions end before a pass over contexts of up to `longest` tokens may.

    Raises:
        EvoError: they do.
    """
    config, positions = model.config, model.backbone.positions
    beside = max(config.batch_segments, model.block - 1)  # segments of a memory pass, or earlier ones of a block
    needed = model.capacity + min(config.batch_tokens, longest) + beside * model.latents
    if model.latents and positions is not None and needed > positions:
        raise EvoError(
            f"backbone '{config.model.backbone}' has {positions:,} positions, and a pass behind a full queue "
            f"may take {needed:,}; nothing was trained; lower batch_tokens, the latents or the queue's capacity"
        )


def load_weights(model: EvoModel, state: State, checkpoint: str) -> None:
    """Put a checkpoint's weights into the model.

    Raises:
        EvoError: they are those of another model.
    """
    trained, weights = model.trained, state[WEIGHT]
    odd = sorted(
        {n for n in trained.keys() & weights.keys() if trained[n].shape != weights[n].shape}
        | (trained.keys() ^ weights.keys())
    )
    if odd:
        raise EvoError(
            f"checkpoint '{checkpoint}' does not fit the model at {len(odd)} weights, first '{odd[0]}'; nothing was "
            "trained; remove it to train this run from its start"
        )
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(weights[name])


def _spoiled(what: str, step: int, episodes: list[str]) -> EvoError:
    named = ", ".join(episodes[:8])
    return EvoError(
        f"{what} at step {step + 1}, on episodes {named} and {max(0, len(episodes) - 8)} more; the weights would be "
        "lost; the last checkpoint is kept: lower the learning rate, or look at these episodes with 'evo trace'"
    )


def end_with_parent() -> None:
    """Leave when the launcher goes, even by kill -9: its end of our standard input closes then."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # not through sys.stdin, whose lock would be held at exit
        if os.getpgrp() == os.getpid():  # with what is compiled for us
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Run one rank; an error is one sentence on standard error."""
    end_with_parent()
    warnings.simplefilter("ignore", FutureWarning)  # what libraries tell each other
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

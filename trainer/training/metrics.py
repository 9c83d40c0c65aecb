"""What a step measures: a table of the step's batches, which becomes a row of `metrics.jsonl`.

Losses and batches come in; a row of numbers a step goes out.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evoembedding.schemas.files import write_whole
from evoembedding.trainer.model.batches import Batch
from evoembedding.trainer.model.evo_model import EvoModel, Losses

REPORTS = 40  # rows of progress a job tells its launcher
MEANS = ("loss", "contrastive_loss", "memory_loss", "padding", "queue_use")  # of the batches
SUMS = ("contexts", "episodes", "tokens")
COLUMNS = (*MEANS, *SUMS, "memory_gib")  # the greatest of the ranks'


def measured(model: EvoModel, batch: Batch, losses: Losses, peak_gib: float) -> Tensor:
    """A batch's row of the table, [columns], on the device of its losses."""
    sizes = [
        batch.padding,
        queue_use(model, batch.totals),
        len(batch.context_ids),
        len(batch.episode_ids),
        batch.tokens,
        peak_gib,
    ]
    parts = torch.stack([losses.total.detach(), losses.contrastive, losses.memory]).double()
    return torch.cat([parts, torch.tensor(sizes, dtype=torch.float64).to(parts.device, non_blocking=True)])


def queue_use(model: EvoModel, totals: Tensor) -> float:
    """Share of the queue's capacity that the contexts' final memories fill."""
    return float((totals * model.latents).clamp(max=model.capacity).double().mean()) / model.capacity


def first_not_finite(table: list[list[float]]) -> int | None:
    """The first batch of a step whose loss is NaN or infinite."""
    return next((index for index, row in enumerate(table) if not math.isfinite(row[0])), None)


def combined(table: list[list[float]]) -> dict[str, float]:
    """What the batches of a step, [batches][columns], come to."""
    columns = dict(zip(COLUMNS, zip(*table, strict=True), strict=True))
    return {
        **{name: math.fsum(columns[name]) / len(table) for name in MEANS},
        **{name: int(sum(columns[name])) for name in SUMS},
        "memory_gib": max(columns["memory_gib"]),
    }


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
            # From this start's steps alone: the clock knows nothing of those before a resumption.
            left = (time.monotonic() - self._since) / (step - self._first) * (steps - step)
            line = {**row, "steps": steps, "resumed_at": self._first, "seconds_left": left}
            print(json.dumps(line), flush=True)

"""DeepSpeed around the model. The only file that imports it: the model knows nothing of parallelism."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import deepspeed
import torch
from torch.optim.lr_scheduler import LambdaLR

from schemas.configs import TrainConfig
from schemas.files import write_whole
from trainer.batches import Batch
from trainer.model import EvoModel, Losses

KEEP_CHECKPOINTS = 2
LATEST = "latest"


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Of the peak rate at zero-based `step`: linear warm-up, then cosine to `final_lr_fraction`."""
    warmup = max(1, round(config.steps * config.warmup_fraction))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, config.steps - warmup)
    low = config.final_lr_fraction
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


class Engine:
    """One rank of a training job."""

    def __init__(self, model: EvoModel, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.rank, self.ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
        schedule = LambdaLR(optimizer, lambda step: learning_rate_factor(step, config))
        self._engine: Any
        self._engine, *_ = deepspeed.initialize(
            model=model, optimizer=optimizer, lr_scheduler=schedule, config=self._deepspeed_config()
        )

    def forward(self, batch: Batch) -> Losses:
        """The batch's losses."""
        losses: Losses = self._engine(batch)
        return losses

    def step(self, losses: Losses) -> float:
        """Backward, clip, update; the gradient's norm before the clip."""
        self._engine.backward(losses.total)
        self._engine.step()
        return float(self._engine.get_global_grad_norm() or 0.0)

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return float(self._engine.get_lr()[0])

    def mean(self, values: list[float]) -> list[float]:
        """Averages over the ranks."""
        if self.ranks == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(total)
        return [float(v) for v in total / self.ranks]

    def save(self, folder: Path, step: int) -> None:
        """Write the state after `step` steps under `folder`; the marker last, then drop older checkpoints."""
        tag = f"step-{step:08d}"
        self._engine.save_checkpoint(str(folder), tag=tag, save_latest=False)
        if self.rank == 0:
            write_whole(folder / LATEST, tag)
            for old in sorted(folder.glob("step-*"))[:-KEEP_CHECKPOINTS]:
                shutil.rmtree(old)

    def resume(self, folder: Path) -> int:
        """Load the newest complete checkpoint; how many steps it has done (0: there is none)."""
        if not (folder / LATEST).exists():
            return 0
        tag = (folder / LATEST).read_text()
        self._engine.load_checkpoint(str(folder), tag=tag)
        return int(tag.removeprefix("step-"))

    def _deepspeed_config(self) -> dict[str, Any]:
        return {
            "train_micro_batch_size_per_gpu": 1,  # our batches are cut already
            "gradient_accumulation_steps": 1,
            "gradient_clipping": self.config.gradient_clip,
            "zero_optimization": {"stage": self.config.zero_stage},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 10**9,
            "wall_clock_breakdown": False,
        }

"""DeepSpeed around the model. The only file that imports it: the model knows nothing of parallelism."""

from __future__ import annotations

import fcntl
import math
import os
import platform
import resource
import time
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.comm.torch import build_shm_op
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_optimizer_state,
    set_z3_leaf_modules,
)
from torch import Tensor, nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.utils.cpp_extension import get_default_build_root

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import write_whole
from evoembedding.trainer.model.batches import Batch
from evoembedding.trainer.model.evo_model import EvoModel, Losses
from evoembedding.trainer.training.checkpoints import MOMENTS, WEIGHT, State

MEET = timedelta(minutes=10)  # a first start compiles DeepSpeed's communication; machines may be slow to come
GIB = 1 << 30


def learning_rate(step: int, config: TrainConfig) -> float:
    """At zero-based `step`: linear warm-up, then cosine to `final_lr_fraction` of the peak."""
    warmup = max(1, round(config.steps * config.warmup_fraction))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, config.steps - warmup)
    low = config.final_lr_fraction
    return config.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def join(rendezvous: Path, master: str) -> None:
    """Meet the other ranks, and take this rank's device.

    On one machine they meet through a file: no port is opened. On several the first rank opens a free port, and says
    which in that file, which all machines see.

    Args:
        master: the name under which others reach the first rank's machine; '' if all ranks are on one machine.

    Raises:
        EvoError: the machine has fewer accelerators than ranks, or the first rank was not met.
    """
    compile_extension()
    rank, ranks, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    accelerator = get_accelerator()
    backend = "gloo"
    if accelerator.device_name() != "cpu":
        if local >= accelerator.device_count():
            raise EvoError(
                f"rank {rank} is number {local + 1} on a machine with {accelerator.device_count()} "
                f"{accelerator.device_name()} devices; nothing was trained; start fewer ranks there"
            )
        accelerator.set_device(local)
        backend = accelerator.communication_backend_name()
    if master:
        store = _meet(rendezvous, master, rank, ranks)
        torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=ranks)
    else:
        torch.distributed.init_process_group(backend, init_method=f"file://{rendezvous}", rank=rank, world_size=ranks)


def compile_extension() -> None:
    """Have DeepSpeed's module for CPUs compiled and loaded, by one process at a time.

    torch's own lock is a file, which a process that is killed leaves behind and all others would wait for, for ever.
    The folder is therefore ours alone, unless TORCH_EXTENSIONS_DIR names another.
    """
    versions = f"python-{platform.python_version()}-torch-{torch.__version__}"
    own = Path(get_default_build_root()).parent / "evoembedding_extensions" / versions
    folder = Path(os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(own)))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for left in folder.glob("deepspeed_*/lock"):
            left.unlink()
        build_shm_op()


def _meet(rendezvous: Path, master: str, rank: int, ranks: int) -> TCPStore:
    if rank == 0:
        store = TCPStore(master, 0, ranks, is_master=True, timeout=MEET, wait_for_workers=False)
        write_whole(rendezvous, str(store.port))
        return store
    until = time.monotonic() + MEET.total_seconds()
    while not rendezvous.exists():
        if time.monotonic() > until:
            raise EvoError(
                f"rank {rank} saw no '{rendezvous}' within {MEET}; nothing was trained; "
                "the state folder has to be the same on all machines"
            )
        time.sleep(0.1)
    return TCPStore(master, int(rendezvous.read_text()), ranks, timeout=MEET, wait_for_workers=False)


class Whole(nn.Module):
    """The model as one layer, whose weights ZeRO-3 gathers and whose gradients it reduces all at once.

    Ranks read contexts of other lengths in other numbers of passes: layer by layer, they would wait for each other for
    ever. What tells ZeRO-3 that the backward pass is over is the gradient of `anchor`, the first of all inputs.
    """

    def __init__(self, model: EvoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, anchor: Tensor, batch: Batch) -> Losses:
        """The model's losses, and zero of the anchor."""
        losses: Losses = self.model(batch)
        return losses._replace(total=losses.total + 0.0 * anchor)


class Engine:
    """One rank of a training job. A step is some `accumulate`, as many on every rank, and one `update`.

    `state`, `gathered` and `restore` are to be called on all ranks together.
    """

    def __init__(self, model: EvoModel, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.rank, self.ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.device = torch.device(get_accelerator().current_device_name())
        self._trained = model.trained
        # Its rate is set at every update.
        self._adam = torch.optim.AdamW(self._trained.values(), betas=(0.9, 0.98), weight_decay=0.01)
        whole = Whole(model)
        set_z3_leaf_modules(whole, [Whole])
        self._engine: Any
        self._engine, *_ = deepspeed.initialize(model=whole, optimizer=self._adam, config=self._deepspeed_config())
        self._anchor = torch.zeros((), device=self.device, requires_grad=True)
        self._behind = False  # DeepSpeed has yet to be told that the batch before this one is done

    def accumulate(self, batch: Batch) -> Losses:
        """Add the gradients of a batch's losses to those of this step."""
        # DeepSpeed counts batches by its own `step`; only that in `update`, after the last one, changes weights.
        if self._behind:
            self._engine.step()
        losses: Losses = self._engine(self._anchor, batch.to(self.device))
        self._engine.backward(losses.total + self._idle())
        self._behind = True
        return losses

    def update(self, rate: float) -> float:
        """Clip the accumulated gradients and update the weights; the gradients' norm before the clip.

        A norm that is no number may have spoiled the weights.
        """
        for group in self._adam.param_groups:
            group["lr"] = rate
        norm: float | Tensor | None = None
        if self.config.zero_stage == 0:
            norm = nn.utils.get_total_norm([p.grad for p in self._trained.values() if p.grad is not None])
        self._engine.step()
        self._behind = False
        return float(self._engine.get_global_grad_norm() if norm is None else norm)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all ranks."""
        if self.ranks > 1:
            torch.distributed.all_reduce(values)
        return values

    @property
    def peak_gib(self) -> float:
        """The most memory held so far: of the device, or of the process."""
        if self.device.type != "cpu":
            return int(get_accelerator().max_memory_allocated()) / GIB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB  # Linux counts in KiB

    def state(self) -> State:
        """The trained weights and Adam's moments, whole and on the CPU; empty but on the first rank."""
        state: State = {part: {} for part in (WEIGHT, *MOMENTS)}
        for name, parameter in self._trained.items():
            for part in state:
                whole = self._whole(parameter, part)
                if self.rank == 0:
                    state[part][name] = whole.detach().float().cpu().contiguous()
        return state

    def restore(self, step: int, state: State) -> None:
        """Take over Adam's moments after `step` updates; the weights came with the model.

        Adam has none before its first update, so one comes first: at rate 0, which changes no weight.
        """
        for name, parameter in self._trained.items():
            for part in MOMENTS:
                value = state[part][name].to(self.device)
                if self.config.zero_stage:
                    safe_set_full_optimizer_state(parameter, value, part)
                else:
                    self._adam.state[parameter][part].copy_(value)
        for moments in self._adam.state.values():
            moments["step"].fill_(step)

    def gathered(self) -> AbstractContextManager[Any]:
        """Within it each rank has the whole trained weights, which ZeRO-3 keeps in parts."""
        context: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(list(self._trained.values()))
        return context

    def _idle(self) -> Tensor | float:
        """Zero, to which every trained weight adds.

        ZeRO-1 and 2 stall at a weight without a gradient, such as the memory's in a model without one. ZeRO-3 takes
        it, and would stumble over weights that are used while it has them elsewhere.
        """
        if self.config.zero_stage == 3:
            return 0.0
        return torch.stack([p.flatten()[0] for p in self._trained.values()]).sum() * 0.0

    def _whole(self, parameter: nn.Parameter, part: str) -> Tensor:
        whole: Tensor | None
        if self.config.zero_stage == 0:
            whole = parameter if part == WEIGHT else self._adam.state[parameter][part]
        elif part == WEIGHT:
            whole = safe_get_full_fp32_param(parameter)
        else:
            whole = safe_get_full_optimizer_state(parameter, part)
        assert whole is not None
        return whole

    def _deepspeed_config(self) -> dict[str, Any]:
        return {
            # Nothing of mixed precision: what is trained is float32, and autocast is the backbone's.
            "train_micro_batch_size_per_gpu": 1,  # our batches are cut already
            "gradient_accumulation_steps": self.config.batches_per_step // self.ranks,  # `launch` refuses a remainder
            "gradient_clipping": self.config.gradient_clip,
            "zero_optimization": {"stage": self.config.zero_stage},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 10**9,
            "wall_clock_breakdown": False,
        }

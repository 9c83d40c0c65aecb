"""Checkpoints: the trained weights and Adam's two moments in one safetensors file, whatever the ranks and ZeRO stage.

Data position, learning rate and random numbers are functions of the step, so the step is all that is kept of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from evoembedding.schemas.episode import Record
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import PARTIAL, file_digest, remove_folder, whole_folder, write_whole
from evoembedding.trainer.training.job import CHECKPOINTS, METRICS

KEPT = 2  # should the newest be damaged, the one before it is gone on from
STATE, MARKER = "state.safetensors", "checkpoint.json"
WEIGHT, MOMENTS = "weight", ("exp_avg", "exp_avg_sq")  # parts of the state; the moments as torch's AdamW names them
State = dict[str, dict[str, Tensor]]  # of each part, the tensors by the parameter's name; all float32, on the CPU


class Marker(Record):
    """Written last: the updates that a checkpoint has seen, and the BLAKE2b of its file and of the metrics up to it."""

    step: int
    blake2b: str
    metrics: str = ""  # of the first `step` lines; checkpoints from before it was kept have none


def write_state(folder: Path, step: int, state: State, metrics: Path | None = None) -> None:
    """Write the state after `step` updates under `folder`, whole or not at all, then drop all but the newest two."""
    target = folder / _name(step)
    tensors = {f"{part}/{name}": t for part, of in state.items() for name, t in of.items()}
    with whole_folder(target) as partial:
        save_file(tensors, str(partial / STATE))
        with (partial / STATE).open("rb") as written:
            # On the disk before the marker that vouches for it.
            os.fsync(written.fileno())
        seen = digest_of(metrics, step) if metrics else ""
        marker = Marker(step=step, blake2b=file_digest(partial / STATE), metrics=seen)
        write_whole(partial / MARKER, marker.model_dump_json())
    kept = [path for path in steps_of(folder) if path.name <= target.name][-KEPT:]
    for old in set(folder.glob("step-*")) - set(kept):  # later ones were damaged, or the run was set back
        remove_folder(old)


def newest_state(folder: Path, metrics: Path | None = None) -> tuple[Path | None, list[str]]:
    """The newest checkpoint whose bytes, and the metrics up to it, are those that were written, and what is wrong with
    newer ones.

    Raises:
        EvoError: there are checkpoints, and all are damaged.
    """
    damaged: list[str] = []
    for path in reversed(steps_of(folder)):
        if not (why := damage(path, metrics)):
            return path, damaged
        damaged.append(f"checkpoint {path.name} {why}")
    if damaged:
        raise EvoError(f"{'; '.join(damaged)}; nothing was trained; remove '{folder}' to train this run from its start")
    return None, []


def read_state(path: Path) -> tuple[int, State]:
    """The step and the state of a checkpoint that was checked before."""
    state: State = {}
    for key, tensor in load_file(str(path / STATE)).items():
        part, _, name = key.partition("/")
        state.setdefault(part, {})[name] = tensor
    return Marker.model_validate_json((path / MARKER).read_bytes()).step, state


def steps_of(folder: Path) -> list[Path]:
    """The checkpoints under a folder, the newest last; damaged ones too."""
    return sorted(path for path in folder.glob("step-*") if path.suffix != PARTIAL)


def damaged(runs: Path) -> Iterator[tuple[str, str]]:
    """The checkpoints of all runs that cannot be gone on from, and why."""
    for folder in sorted(runs.glob(f"*/{CHECKPOINTS}")):
        for path in steps_of(folder):
            if why := damage(path, folder.parent / METRICS):
                says = f"checkpoint '{path}' {why}; 'evo train' goes on from an older one, or says that there is none"
                yield f"{folder.parent.name} {path.name}", says


def damage(path: Path, metrics: Path | None = None) -> str:
    """What is wrong with a checkpoint; '' if nothing is."""
    try:
        marker = Marker.model_validate_json((path / MARKER).read_bytes())
        found = file_digest(path / STATE)
        seen = digest_of(metrics, marker.step) if metrics and marker.metrics else marker.metrics
    except OSError as error:
        return f"cannot be read ({error.strerror}: {Path(error.filename or path).name})"
    except ValidationError:
        return f"has a {MARKER} that cannot be read"
    # The newest is found by name: under another name an older state would pass for it.
    if path.name != _name(marker.step):
        return f"says that it is of step {marker.step}"
    if found != marker.blake2b:
        return f"has checksum {found[:12]}, its marker says {marker.blake2b[:12]}"
    return "" if seen == marker.metrics else f"stands behind {marker.step} steps of metrics that are not what they were"


def digest_of(metrics: Path, steps: int) -> str:
    """BLAKE2b of the first `steps` lines of a file of metrics."""
    with metrics.open("rb") as file:
        return blake2b(b"".join(islice(file, steps)), digest_size=32).hexdigest()


def _name(step: int) -> str:
    # With zeros, as names are sorted in place of steps.
    return f"step-{step:08d}"

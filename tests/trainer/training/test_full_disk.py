"""A disk that fills up while a job trains: a sentence, and a rerun that ends as if it had never been full."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import disk_fault, file_digest
from evoembedding.trainer.model_folder import WEIGHTS
from evoembedding.trainer.training.checkpoints import newest_state
from evoembedding.trainer.training.job import CHECKPOINTS, METRICS
from evoembedding.trainer.training.launch import launch
from tests.reliability.disks import small_disk
from tests.soak import count

Same = Callable[[Path, Path], bool]


@pytest.mark.slow
def test_a_disk_that_fills_up(world: tuple[Path, Path], config: TrainConfig, same_curve: Same, tmp_path: Path) -> None:
    out = tmp_path / "undisturbed"
    wanted = file_digest(launch(*world, config, out, on_progress=lambda row: None) / WEIGHTS)
    checkpoint = sum(path.stat().st_size for path in (out / CHECKPOINTS / "step-00000006").iterdir())
    for part in range(count(1, 5)):  # room for one checkpoint and a half, or for less or more; three fit all
        with small_disk(tmp_path / f"disk-{part}", f"{4 * checkpoint + (1 << 20)}") as disk:
            filler, left = disk / "filler", int(checkpoint * (1.5, 0, 0.5, 2.5, 2.9)[part])
            filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - left))
            with pytest.raises((EvoError, OSError)) as caught:
                launch(*world, config, disk / "run", on_progress=lambda row: None)
            assert isinstance(caught.value, EvoError) or disk_fault(caught.value)
            assert "No space left" in str(caught.value)
            assert "\n" not in str(caught.value)
            filler.unlink()
            newest, damaged = newest_state(disk / "run" / CHECKPOINTS, disk / "run" / METRICS)
            assert not damaged
            assert part or (newest is not None and newest.name == "step-00000002")
            made = launch(*world, config, disk / "run", on_progress=lambda row: None)
            assert same_curve(disk / "run", out)
            assert file_digest(made / WEIGHTS) == wanted

"""Checkpoints: whole or absent, two kept, damage found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.training.checkpoints import MARKER, STATE, State, newest_state, read_state, write_state


def state(value: float) -> State:
    return {part: {"a.b": torch.full((2, 3), value)} for part in ("weight", "exp_avg", "exp_avg_sq")}


def test_two_checkpoints_are_kept_and_read_back(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        write_state(tmp_path, step, state(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000004", "step-00000006"]
    newest, damaged = newest_state(tmp_path)
    assert newest is not None
    assert not damaged
    step, found = read_state(newest)
    assert step == 6
    assert all(torch.equal(found[part]["a.b"], tensor["a.b"]) for part, tensor in state(6).items())


def test_what_a_kill_leaves_is_no_checkpoint_and_goes(tmp_path: Path) -> None:
    write_state(tmp_path, 2, state(2))
    half = tmp_path / "step-00000004.1-0a1b2c3d.partial"
    half.mkdir()
    (half / STATE).write_bytes(b"half")
    newest, damaged = newest_state(tmp_path)
    assert newest == tmp_path / "step-00000002"
    assert not damaged
    write_state(tmp_path, 6, state(6))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000006"]


@pytest.mark.parametrize(
    ("file", "why"), [(STATE, "has checksum"), (MARKER, "that cannot be read"), (None, "cannot be read")]
)
def test_damaged_checkpoint_gives_way_to_the_older(tmp_path: Path, file: str | None, why: str) -> None:
    for step in (2, 4):
        write_state(tmp_path, step, state(step))
    broken = tmp_path / "step-00000004"
    if file:
        (broken / file).write_bytes((broken / file).read_bytes()[:-1])
    else:
        (broken / STATE).unlink()
    newest, damaged = newest_state(tmp_path)
    assert newest == tmp_path / "step-00000002"
    assert "step-00000004" in damaged[0]
    assert why in damaged[0]
    write_state(tmp_path, 3, state(3))  # the damaged one is of a future that was given up
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_nothing_is_trained_when_all_are_damaged(tmp_path: Path) -> None:
    assert newest_state(tmp_path / "none") == (None, [])
    for step in (2, 4):
        write_state(tmp_path, step, state(step))
        (tmp_path / f"step-{step:08d}" / MARKER).unlink()
    with pytest.raises(
        EvoError, match=r"step-00000004 .*step-00000002 .* remove '.*' to train this run from its start"
    ):
        newest_state(tmp_path)
    shutil.rmtree(tmp_path)
    assert newest_state(tmp_path) == (None, [])

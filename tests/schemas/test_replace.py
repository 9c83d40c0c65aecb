"""A changed copy of a record is held to what the record allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from evoembedding.schemas.configs import ModelConfig, TrainConfig

ROOMS = ("schemas", "warehouse", "synth", "trainer", "evaluation", "flows", "benchmarks")


def test_a_copy_differs_in_what_was_named() -> None:
    config = TrainConfig()
    assert config.replace(steps=3) == TrainConfig(steps=3)
    assert config.replace() == config


@pytest.mark.parametrize("changes", [{"stepps": 3}, {"steps": -3}, {"precision": "float8"}])
def test_what_the_record_does_not_allow_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainConfig().replace(**changes)


def test_values_are_held_against_each_other() -> None:
    with pytest.raises(ValidationError, match="cannot hold"):
        ModelConfig().replace(latents=65)


def test_no_room_copies_a_record_unvalidated() -> None:
    root = Path(__file__).parents[2]
    code = {p: p.read_text() for room in ROOMS for p in (root / room).rglob("*.py")}
    assert len(code) > 100
    assert [str(p) for p, text in code.items() if "model_copy(" in text] == []

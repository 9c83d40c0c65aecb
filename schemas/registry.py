"""Models by name: their versions, where aliases such as `champion` were moved, and what gates found."""

from __future__ import annotations

from typing import Literal

from evoembedding.schemas.episode import Record
from evoembedding.schemas.gate import Judgement
from evoembedding.schemas.moments import Moment

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
# What moved an alias: a new version, a promotion, a rollback, or somebody's word.
Move = Literal["registered", "promoted", "rolled back", "tagged", "removed"]


class RegisteredModel(Record):
    """A model under a name, `name@number`; one model may have several names, and in each of them one number."""

    name: str
    number: int
    model_id: str
    registered_by: str
    created_at: Moment

    @property
    def label(self) -> str:
        return f"{self.name}@{self.number}"


class ModelAlias(Record):
    """Where a name's alias was moved to, the `sequence`-th time: a version's number, or 0 for none. The last holds.

    `gate_id` is the gate that let a champion through, '' where none did.
    """

    name: str
    alias: str
    sequence: int
    number: int
    move: Move
    moved_by: str
    reason: str
    gate_id: str
    created_at: Moment


class GateRow(Judgement):
    """What a gate found under one of its rules: a model's score, beside a baseline's where there is one."""

    gate_id: str
    rule: int
    model_id: str
    baseline_id: str  # '' where the model was the first of its name
    benchmark: str
    measured_on: str
    recipe: str  # the name of the recipe that the gate is of
    decided_by: str
    created_at: Moment

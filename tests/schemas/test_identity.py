"""Ids hash what a config says: a field that comes later changes none of them, and unmakes nothing that is stored."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from evoembedding.flows.recipes import RECIPES
from evoembedding.schemas.configs import ClozeConfig, ModelConfig, Recipe, SimulatorConfig, TrainConfig
from evoembedding.schemas.identity import Born, identity, stored
from evoembedding.schemas.ids import digest
from evoembedding.schemas.teacher import Message, Sampling, TeacherRequest

# Digests of what is stored in the warehouses of users. One that differs after a change of a config forks everything
# that was made under it: mark the new field with `Born`. After a default was moved on purpose, write the new digest.
KNOWN = {
    "demo": "536516a137c4168ff257",
    "smallest": "288b0127bcd5f47e7371",
    "smollm2": "ab6975dfb489a2ffd4fc",
    "paper": "9709be72ce65956f5ccc",
    "taught": "2c31ff7292a3e006ebff",
}


class Slower(SimulatorConfig):
    """A field that came later, and whose default has moved since."""

    pause: Annotated[int, Born(0)] = Field(0, ge=0)
    style: Annotated[str, Born("plain")] = "ornate"


class LaterModel(ModelConfig):
    """A field of a config in a config."""

    gate: Annotated[float | None, Born(None)] = None


class Later(TrainConfig):
    """With it."""

    model: LaterModel = LaterModel()


@pytest.mark.parametrize("name", RECIPES)
def test_todays_ids_are_those_of_old(name: str) -> None:
    assert digest(identity(RECIPES[name]()), 10) == KNOWN[name]


def test_what_was_asked_of_teachers_keeps_its_key() -> None:
    asked = TeacherRequest(
        model="m", revision="", messages=(Message(role="user", content="hi"),), sampling=Sampling(), answer_schema="{}"
    )
    assert asked.call_id == "call-9effdfca3e31e1471fc5"


def test_a_later_field_is_in_an_id_only_where_it_changes_something() -> None:
    assert identity(Slower(style="plain")) == identity(SimulatorConfig())
    assert identity(Slower(style="plain", pause=2)) == {**identity(SimulatorConfig()), "pause": 2}
    assert identity(Later()) == identity(TrainConfig())
    assert identity(Later(model=LaterModel(gate=0.5))) != identity(TrainConfig())


def test_a_default_that_moved_moves_the_id() -> None:
    assert identity(Slower()) == {**identity(SimulatorConfig()), "style": "ornate"}


def test_a_default_of_old_counts() -> None:
    assert identity(ClozeConfig()) == ClozeConfig().model_dump()
    assert "seed" not in identity(ClozeConfig(), "seed")


def test_what_is_stored_without_a_later_field_did_as_before_it() -> None:
    old = SimulatorConfig(contexts=3).model_dump_json()
    assert stored(Slower, old) == Slower(contexts=3, style="plain")
    assert stored(Slower, '{"style": "ornate"}').style == "ornate"
    assert Slower.model_validate_json(old).style == "ornate"  # a user's file takes today's defaults
    assert stored(Later, TrainConfig().model_dump()) == Later()


def test_what_is_stored_is_still_held_to_what_the_config_allows() -> None:
    with pytest.raises(ValidationError):
        stored(Recipe, '{"name": "x", "unknown": 1}')
    with pytest.raises(ValidationError):
        stored(Recipe, "[]")

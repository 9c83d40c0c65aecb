"""What is recorded of the offline generators: exactly what their fingerprints hash, by name."""

from __future__ import annotations

import pytest

from schemas.configs import ClozeConfig, SimulatorConfig
from synth import cloze, simulator
from synth.stages import Stage, offline


def changes(one: Stage, other: Stage) -> set[str]:
    return {name for name in one.components if one.components[name] != other.components[name]}


@pytest.mark.parametrize("field", sorted(set(SimulatorConfig.model_fields) - {"contexts"}))
def test_a_setting_of_the_simulator_changes_its_component_alone(field: str) -> None:
    plain = SimulatorConfig()
    other = "heldout" if field == "split" else getattr(plain, field) + 1
    one, two = offline([plain, plain.model_copy(update={field: other})], [])
    assert changes(one, two) == {field}
    assert one.fingerprint == simulator.fingerprint(plain) != two.fingerprint


def test_how_many_contexts_there_are_changes_nothing() -> None:
    one, two = offline([SimulatorConfig(contexts=1), SimulatorConfig(contexts=2)], [])
    assert one == two


@pytest.mark.parametrize("field", sorted(ClozeConfig.model_fields))
def test_a_setting_of_cloze_changes_its_component_alone(field: str) -> None:
    plain = ClozeConfig()
    one, two = offline([], [plain, plain.model_copy(update={field: getattr(plain, field) + 1})])
    assert changes(one, two) == {field}
    assert one.fingerprint == cloze.fingerprint(plain) != two.fingerprint

"""What is recorded of the offline generators: exactly what their fingerprints hash, by name."""

from __future__ import annotations

import re

import pytest

from evoembedding.schemas.configs import ClozeConfig, SimulatorConfig, TeachingConfig
from evoembedding.schemas.teacher import TeacherConfig
from evoembedding.synth import checks, cloze, simulator, text
from evoembedding.synth.fingerprints import Drafted, chains, of_cloze, of_simulator, offline
from evoembedding.synth.simulator import fillers, questions, render
from evoembedding.synth.simulator.builders.told import Builder

TAUGHT = TeachingConfig(teachers=(TeacherConfig(model="m", endpoints=("http://127.0.0.1:1/v1",)),))


def changes(one: Drafted, other: Drafted) -> tuple[set[str], set[str]]:
    """The components in which the stages differ, of drafts and of their checks."""
    drafts, verify = (
        {name for name in a.components.keys() | b.components.keys() if a.components.get(name) != b.components.get(name)}
        for a, b in zip(one, other, strict=True)
    )
    assert bool(drafts) == (one.drafts.fingerprint != other.drafts.fingerprint)
    assert bool(drafts | verify) == (one.verify.fingerprint != other.verify.fingerprint)
    return drafts, verify


@pytest.mark.parametrize("field", sorted(set(SimulatorConfig.model_fields) - {"contexts"}))
def test_a_setting_of_the_simulator_changes_its_component_alone(field: str) -> None:
    plain = SimulatorConfig()
    other = "heldout" if field == "split" else getattr(plain, field) + 1
    one, two = offline([plain, plain.replace(**{field: other})], [])
    assert changes(one, two) == ({field}, set())
    assert one.drafts.fingerprint == simulator.fingerprint(plain)


def test_how_many_contexts_there_are_changes_nothing() -> None:
    one, two = offline([SimulatorConfig(contexts=1), SimulatorConfig(contexts=2)], [])
    assert one == two


@pytest.mark.parametrize("field", sorted(ClozeConfig.model_fields))
def test_a_setting_of_cloze_changes_its_component_alone(field: str) -> None:
    plain = ClozeConfig()
    one, two = offline([], [plain, plain.replace(**{field: getattr(plain, field) + 1})])
    assert changes(one, two) == ({field}, set())
    assert one.drafts.fingerprint == cloze.fingerprint(plain)


def test_a_new_builder_changes_the_simulators_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = of_simulator(SimulatorConfig())
    # Of a type that teachers alone ask today.
    monkeypatch.setitem(questions.BUILDERS, "who_promised", Builder(lambda world: iter(()), ("Who promised {v}?",)))
    assert changes(before, of_simulator(SimulatorConfig())) == ({"builders", "types"}, set())


def test_so_does_one_that_is_there_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    before = of_simulator(SimulatorConfig())
    fewer = {name: builder for name, builder in questions.BUILDERS.items() if name != "latest"}
    monkeypatch.setattr(questions, "BUILDERS", fewer)
    assert changes(before, of_simulator(SimulatorConfig())) == ({"builders", "types"}, set())


def test_so_does_another_template_paraphrase_or_filler(monkeypatch: pytest.MonkeyPatch) -> None:
    before = of_simulator(SimulatorConfig())
    builder = questions.BUILDERS["latest"]
    with monkeypatch.context() as patched:
        longer = builder._replace(templates=(*builder.templates, "And the {a} of {name}?"))
        patched.setitem(questions.BUILDERS, "latest", longer)
        assert changes(before, of_simulator(SimulatorConfig())) == ({"builders"}, set())
    with monkeypatch.context() as patched:
        patched.setitem(render.STATEMENTS, "talk", (*render.STATEMENTS["talk"], "My soup is cold."))
        assert changes(before, of_simulator(SimulatorConfig())) == ({"paraphrases"}, set())
    with monkeypatch.context() as patched:
        patched.setitem(fillers.POOLS, "plan", tuple(reversed(fillers.POOLS["plan"])))
        assert changes(before, of_simulator(SimulatorConfig())) == ({"fillers"}, set())
    assert changes(before, of_simulator(SimulatorConfig())) == (set(), set())


@pytest.mark.parametrize(
    ("name", "value"),
    [("FRAMES", ("Fill in: {}",)), ("AROUND", 3), ("SMALLEST_WINDOW", 5), ("_TERM", re.compile("[a-z]+"))],
)
def test_a_table_of_cloze_changes_its_fingerprint(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of_cloze(ClozeConfig())
    monkeypatch.setattr(cloze, name, value)
    assert changes(before, of_cloze(ClozeConfig())) == ({"tables"}, set())


def test_so_does_how_texts_are_cut_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    before = of_cloze(ClozeConfig())
    monkeypatch.setattr(text, "TOKEN_CHARACTERS", 7)
    assert changes(before, of_cloze(ClozeConfig())) == ({"tables"}, {"checks"})


@pytest.mark.parametrize(
    ("name", "value", "component"),
    [
        ("VERSION", "checks-next", "code"),
        ("QUESTION_WORDS", 3, "checks"),
        ("ANSWER_WORDS", 3, "checks"),
        ("SEGMENT_WORDS", 3, "checks"),
        ("CHECKS", {"structure": checks.structure}, "checks"),
    ],
)
def test_what_checks_compare_with_is_of_the_verify_stage_alone(
    name: str, value: object, component: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, taught = offline([SimulatorConfig()], [ClozeConfig()]), chains(TAUGHT)
    monkeypatch.setattr(checks, name, value)
    for one, two in zip(before, offline([SimulatorConfig()], [ClozeConfig()]), strict=True):
        assert changes(one, two) == (set(), {component})
    for kind, chain in chains(TAUGHT).items():
        assert chain[:3] == taught[kind][:3]
        assert chain.verify.fingerprint != taught[kind].verify.fingerprint

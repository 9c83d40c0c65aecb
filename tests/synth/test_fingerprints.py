"""What is recorded of the offline generators: exactly what their fingerprints hash, by name."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from evoembedding.schemas.configs import ClozeConfig, SimulatorConfig, TeachingConfig
from evoembedding.schemas.teacher import TeacherConfig
from evoembedding.synth import cloze, simulator, text, verification
from evoembedding.synth.checks import CHECKS, lengths
from evoembedding.synth.checks.check import Case, Check, Measured
from evoembedding.synth.fingerprints import Drafted, chains
from evoembedding.synth.generators import drafted
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
    one, two = (drafted(simulator.generator, config) for config in (plain, plain.replace(**{field: other})))
    assert changes(one, two) == ({field}, set())
    assert one.drafts.fingerprint == simulator.generator.fingerprint(plain)


def test_how_many_contexts_there_are_changes_nothing() -> None:
    one, two = (drafted(simulator.generator, SimulatorConfig(contexts=contexts)) for contexts in (1, 2))
    assert one == two


@pytest.mark.parametrize("field", sorted(ClozeConfig.model_fields))
def test_a_setting_of_cloze_changes_its_component_alone(field: str) -> None:
    plain = ClozeConfig()
    other = plain.replace(**{field: getattr(plain, field) + 1})
    one, two = drafted(cloze.generator, plain), drafted(cloze.generator, other)
    assert changes(one, two) == ({field}, set())
    assert one.drafts.fingerprint == cloze.generator.fingerprint(plain)


def test_a_new_builder_changes_the_simulators_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = drafted(simulator.generator, SimulatorConfig())
    # Of a type that teachers alone ask today.
    monkeypatch.setitem(questions.BUILDERS, "who_promised", Builder(lambda world: iter(()), ("Who promised {v}?",)))
    assert changes(before, drafted(simulator.generator, SimulatorConfig())) == ({"builders", "types"}, set())


def test_so_does_one_that_is_there_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    before = drafted(simulator.generator, SimulatorConfig())
    fewer = {name: builder for name, builder in questions.BUILDERS.items() if name != "latest"}
    monkeypatch.setattr(questions, "BUILDERS", fewer)
    assert changes(before, drafted(simulator.generator, SimulatorConfig())) == ({"builders", "types"}, set())


def test_so_does_another_template_paraphrase_or_filler(monkeypatch: pytest.MonkeyPatch) -> None:
    before = drafted(simulator.generator, SimulatorConfig())
    builder = questions.BUILDERS["latest"]
    with monkeypatch.context() as patched:
        longer = builder._replace(templates=(*builder.templates, "And the {a} of {name}?"))
        patched.setitem(questions.BUILDERS, "latest", longer)
        assert changes(before, drafted(simulator.generator, SimulatorConfig())) == ({"builders"}, set())
    with monkeypatch.context() as patched:
        patched.setitem(render.STATEMENTS, "talk", (*render.STATEMENTS["talk"], "My soup is cold."))
        assert changes(before, drafted(simulator.generator, SimulatorConfig())) == ({"paraphrases"}, set())
    with monkeypatch.context() as patched:
        patched.setitem(fillers.POOLS, "plan", tuple(reversed(fillers.POOLS["plan"])))
        assert changes(before, drafted(simulator.generator, SimulatorConfig())) == ({"fillers"}, set())
    assert changes(before, drafted(simulator.generator, SimulatorConfig())) == (set(), set())


@pytest.mark.parametrize(
    ("name", "value"),
    [("FRAMES", ("Fill in: {}",)), ("AROUND", 3), ("SMALLEST_WINDOW", 5), ("_TERM", re.compile("[a-z]+"))],
)
def test_a_table_of_cloze_changes_its_fingerprint(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    before = drafted(cloze.generator, ClozeConfig())
    monkeypatch.setattr(cloze, name, value)
    assert changes(before, drafted(cloze.generator, ClozeConfig())) == ({"tables"}, set())


def test_so_does_how_texts_are_cut_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    before = drafted(cloze.generator, ClozeConfig())
    monkeypatch.setattr(text, "TOKEN_CHARACTERS", 7)
    assert changes(before, drafted(cloze.generator, ClozeConfig())) == ({"tables"}, {"checks"})


@pytest.mark.parametrize(
    ("module", "name", "value", "component"),
    [
        (verification, "VERSION", "checks-next", "code"),
        (lengths, "QUESTION_WORDS", 3, "checks"),
        (lengths, "ANSWER_WORDS", 3, "checks"),
        (lengths, "SEGMENT_WORDS", 3, "checks"),
        (verification, "CHECKS", {**CHECKS, "lengths": CHECKS["lengths"]._replace(reads=None)}, "checks"),
    ],
)
def test_what_checks_compare_with_is_of_the_verify_stage_alone(
    module: ModuleType, name: str, value: object, component: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ((simulator.generator, SimulatorConfig()), (cloze.generator, ClozeConfig()))
    before, taught = [drafted(*one) for one in made], chains(TAUGHT)
    monkeypatch.setattr(module, name, value)
    for one, two in zip(before, [drafted(*one) for one in made], strict=True):
        assert changes(one, two) == (set(), {component})
    for kind, chain in chains(TAUGHT).items():
        assert chain[:3] == taught[kind][:3]
        assert chain.verify.fingerprint != taught[kind].verify.fingerprint


async def polite(case: Case) -> Measured:
    return Measured(1.0)


@pytest.mark.parametrize("threshold", [0.5, 0.6])
def test_a_new_check_that_measures_is_of_the_taught_verify_stage(
    threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts, taught = drafted(cloze.generator, ClozeConfig()), chains(TAUGHT)
    one = Check("polite", "says please", measures=polite, judges=lambda score, config: "", threshold=threshold)
    monkeypatch.setattr(verification, "CHECKS", {**CHECKS, "polite": one})
    assert drafted(cloze.generator, ClozeConfig()) == drafts
    found = {kind: chain.verify.fingerprint for kind, chain in chains(TAUGHT).items()}
    assert all(found[kind] != chain.verify.fingerprint for kind, chain in taught.items())
    monkeypatch.setattr(verification, "CHECKS", {**CHECKS, "polite": one._replace(threshold=threshold + 0.01)})
    assert all(chain.verify.fingerprint != found[kind] for kind, chain in chains(TAUGHT).items())


def test_every_check_is_named_as_its_file_and_says_how_it_is_judged() -> None:
    for name, check in CHECKS.items():
        assert check.name == name
        assert check.reads or check.measures
        assert (check.measures is None) == (check.judges is None)

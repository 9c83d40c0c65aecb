"""Offline generators in two stages: what was drafted stays when checks change, and what only old checks passed is not
published.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import evoembedding.flows.synthesize as tasks
from evoembedding.flows.build_dataset import publish_version
from evoembedding.flows.made_by import made_by
from evoembedding.flows.pending import pending, pending_checks
from evoembedding.flows.teaching.plan import PlanRow, make_plan
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.episode import Document, Draft, Evidence, Question
from evoembedding.schemas.errors import EvoError
from evoembedding.synth import cloze, verification
from evoembedding.synth.checks.check import Check
from evoembedding.synth.generators import offline
from evoembedding.synth.simulator import drafts as worlds
from evoembedding.synth.simulator import questions
from evoembedding.synth.simulator.builders.told import Builder, Candidate, World
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.diff import diff
from evoembedding.warehouse.datasets.funnel import assert_balanced, funnel
from evoembedding.warehouse.datasets.versions import matching_digest, resolve
from evoembedding.warehouse.lineage.trace import trace
from evoembedding.warehouse.upkeep.retention import expire
from tests.flows.offline import TEXTS, small_recipe, without_prefect


@pytest.fixture(scope="module", autouse=True)
def no_prefect() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        without_prefect(patched)
        yield


@pytest.fixture(scope="module")
def small() -> Recipe:
    return small_recipe()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, small: Recipe) -> Path:
    """A state folder after a run of the recipe. Tests add to it what other code would make."""
    home = tmp_path_factory.mktemp("home")
    documents = [
        Document(document_id=f"doc-{n}", source_id=str(n), title="", uri="", license="", text=text)
        for n, text in enumerate(TEXTS)
    ]
    with Warehouse.open(home) as warehouse:
        warehouse.append("documents", to_frame(Document, documents))
    synthesize(home, small)
    return home


def synthesize(home: Path, of: Recipe) -> int:
    return int(tasks.synthesize.fn.__wrapped__(of, home=home)["new_episodes"])


def rows(home: Path, of: Recipe) -> dict[tuple[str, str], PlanRow]:
    return {(row.kind, row.stage): row for row in make_plan(home, of)}


def stricter(monkeypatch: pytest.MonkeyPatch, version: str = "checks-next") -> None:
    """Checks of tomorrow: a question may not begin with W."""

    def polite(draft: Draft, question: Question, evidence: Evidence) -> str:
        return "it begins with W" if question.text.startswith("W") else ""

    one = Check("polite", "the question does not begin with W", polite)
    monkeypatch.setattr(verification, "VERSION", version)
    monkeypatch.setattr(verification, "CHECKS", {**verification.CHECKS, "polite": one})


def no_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("drafts were made anew")

    monkeypatch.setattr(worlds, "draft", refuse)
    monkeypatch.setattr(cloze, "cloze", refuse)


def test_nothing_is_pending_after_a_run(home: Path, small: Recipe) -> None:
    with Warehouse.open(home) as warehouse:
        assert pending(warehouse, small) == 0
        assert_balanced(warehouse)
    plan = rows(home, small)
    assert {key: (row.done, row.pending, row.invalidated) for key, row in plan.items()} == {
        ("simulator train", "simulator"): (4, 0, 0),
        ("simulator train", "verify"): (4, 0, 0),
        ("simulator heldout", "simulator"): (2, 0, 0),
        ("simulator heldout", "verify"): (2, 0, 0),
        ("cloze", "cloze"): (3, 0, 0),
        ("cloze", "verify"): (3, 0, 0),
    }


def test_new_checks_see_stored_drafts_again_and_nothing_is_drafted_anew(
    home: Path, small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish_version.fn(home, "d", small)
    drafted = [one.stages.drafts for one in offline(small)]
    with Warehouse.open(home) as warehouse:
        kept = matching_digest(warehouse, made_by(small))
    stricter(monkeypatch)
    assert [one.stages.drafts for one in offline(small)] == drafted
    plan = rows(home, small)
    assert plan["simulator train", "simulator"].pending == 0
    verify = plan["simulator train", "verify"]
    assert (verify.done, verify.pending, verify.invalidated, set(verify.because)) == (0, 4, 4, {"code", "checks"})

    with Warehouse.open(home) as warehouse:
        assert pending(warehouse, small) == 4 + 2 + 3
        assert warehouse.query("select count(*) from episodes").item() > 0
        # Passed by old checks only: there, but of no recipe of today.
        assert matching_digest(warehouse, made_by(small)) != kept
    no_generation(monkeypatch)
    assert synthesize(home, small) == 0
    with Warehouse.open(home) as warehouse:
        assert pending(warehouse, small) == 0
        assert_balanced(warehouse)
    second = publish_version.fn(home, "d", small)
    assert 0 < second.episodes < first.episodes
    with Warehouse.open(home) as warehouse:
        polite = warehouse.query(
            """select question from episodes join dataset_members using (episode_id) where dataset_id = ?""",
            (second.dataset_id,),
        )["question"]
        assert not [text for text in polite if text.startswith("W")]
        found = diff(warehouse, first, second)
        assert found.went == first.episodes - second.episodes
        assert all("rejects it: polite by other verify checks, verify code" in change.why for change in found.changes)


def test_without_the_run_nothing_that_only_old_checks_passed_is_published(
    home: Path, small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    stricter(monkeypatch, "checks-of-another-day")
    with pytest.raises(EvoError, match="no train episodes of this recipe"):
        publish_version.fn(home, "d", small)


def test_back_to_the_old_checks_costs_nothing(home: Path, small: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish_version.fn(home, "d", small)
    with monkeypatch.context() as patched:
        stricter(patched)
        synthesize(home, small)
    with Warehouse.open(home) as warehouse:
        assert pending(warehouse, small) == 0
    assert publish_version.fn(home, "d", small) == first


def test_a_new_builder_drafts_the_same_worlds_again_and_then_nothing_is_pending(
    home: Path, small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = publish_version.fn(home, "d", small)

    def promised(world: World) -> list[Candidate]:
        return [Candidate("nobody", (0,))]

    monkeypatch.setitem(questions.BUILDERS, "who_promised", Builder(promised, ("Who promised it?",)))  # type: ignore[arg-type]
    for split in ("train", "heldout"):
        monkeypatch.setitem(questions._TEMPLATES, ("who_promised", split), ("Who promised it?",))
    plan = rows(home, small)["simulator train", "simulator"]
    assert (plan.done, plan.pending, plan.invalidated, set(plan.because)) == (0, 4, 4, {"builders", "types"})
    synthesize(home, small)
    with Warehouse.open(home) as warehouse:
        assert warehouse.query("select count(*) from contexts where generator = 'simulator'").item() == 6  # the same
        assert pending(warehouse, small) == 0
        assert_balanced(warehouse)
    after = publish_version.fn(home, "d", small)
    assert after.digest != before.digest
    monkeypatch.undo()
    with Warehouse.open(home) as warehouse:
        assert pending(warehouse, small) == 0  # the drafts of old are there still


def test_lineage_and_retention_know_both_stages(home: Path, small: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    version = publish_version.fn(home, "d", small)
    mark = next(iter(made_by(small).verified))
    with Warehouse.open(home) as warehouse:
        node = trace(warehouse, mark)
        assert node.facts["stage"] == "verify"
        (before,) = node.children
        assert (before.id, before.facts["stage"]) == (offline(small)[0].stages.drafts.fingerprint, "simulator")
    stricter(monkeypatch)
    synthesize(home, small)
    newer = publish_version.fn(home, "d", small)
    with Warehouse.open(home) as warehouse:
        gone = expire(warehouse, [version.label], dry=False)
        assert gone.rows["dataset_members"] == version.episodes
        assert resolve(warehouse, newer.label) == newer
        assert_balanced(warehouse)
        assert not funnel(warehouse).is_empty()
        drafts = {one.stages.drafts.fingerprint for one in offline(small)}
        assert [pending_checks(warehouse, one.stages) for one in offline(small)] == [[]] * len(drafts)

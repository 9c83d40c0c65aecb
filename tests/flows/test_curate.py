"""Publishing leaves out near-duplicates and what benchmarks hold, and every episode left out is accounted for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evoembedding.flows.curate import curate
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.configs import CurationConfig, SimulatorConfig
from evoembedding.schemas.episode import Context, Draft, Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.ids import content_id
from evoembedding.synth import simulator
from evoembedding.synth.generators import drafted
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.funnel import assert_balanced
from evoembedding.warehouse.datasets.versions import EpisodeFilter, left_out, publish

CONFIG = SimulatorConfig(contexts=12)
WHERE = EpisodeFilter(verified=(drafted(simulator.generator, CONFIG).verify.fingerprint,))


@pytest.fixture
def warehouse(tmp_path: Path) -> Any:
    with Warehouse.open(tmp_path) as opened:
        yield opened


def again(draft: Draft) -> Draft:
    """The draft with one word more in one segment: another id, the same content."""
    first = draft.context.segments[0]
    segments = (Segment(user=first.user + " Indeed.", assistant=first.assistant), *draft.context.segments[1:])
    context_id = content_id("ctx", {"again": draft.context.context_id})
    context = Context(**{**dict(draft.context), "context_id": context_id, "segments": segments})
    questions, evidence = [], []
    for question, found in zip(draft.questions, draft.evidence, strict=True):
        question_id = content_id("q", {"again": question.question_id})
        questions.append(question.model_copy(update={"question_id": question_id, "context_id": context_id}))
        evidence.append(found.model_copy(update={"question_id": question_id}))
    return Draft(context=context, questions=tuple(questions), evidence=tuple(evidence))


def publish_curated(warehouse: Warehouse, config: CurationConfig) -> Any:
    curated = curate(warehouse, config, WHERE, "d")
    where = WHERE.model_copy(update={"curation": curated.fingerprint})
    return publish(warehouse, "d", "{}", None, where, curated.episodes)


def test_of_two_contexts_that_are_alike_one_is_published(warehouse: Warehouse) -> None:
    drafts = list(simulate(CONFIG))
    commit_drafts(warehouse, drafts)
    plain = publish_curated(warehouse, CurationConfig())
    assert left_out(warehouse, plain) == {}  # different simulated dialogues are no near-duplicates
    repeated = [again(draft) for draft in drafts[:3]]
    commit_drafts(warehouse, repeated)
    assert_balanced(warehouse)
    version = publish_curated(warehouse, CurationConfig())
    total = warehouse.query("SELECT count(*) FROM episodes").item()
    assert version.number == 2
    assert version.episodes == plain.episodes == total - left_out(warehouse, version)["near_duplicate"]
    rejected = warehouse.query(
        "SELECT * FROM verdicts WHERE check_name = 'near_duplicate' AND fingerprint = ?", (version.curation,)
    )
    assert rejected["score"].min() > 0.8
    pairs = {
        (draft.context.context_id, other.context.context_id) for draft, other in zip(drafts[:3], repeated, strict=True)
    }
    for question_id, reason in rejected.select("question_id", "reason").iter_rows():
        context_id = warehouse.query("SELECT context_id FROM questions WHERE question_id = ?", (question_id,)).item()
        kept = reason.split()[-1]
        assert kept < context_id
        assert {(kept, context_id), (context_id, kept)} & pairs
    everything = publish_curated(warehouse, CurationConfig(near_duplicate=None))
    assert everything.episodes == total
    before = warehouse.snapshot()
    assert publish_curated(warehouse, CurationConfig()).dataset_id == version.dataset_id
    assert warehouse.snapshot() == before  # looked at once


def test_what_a_benchmark_holds_is_left_out(warehouse: Warehouse, tmp_path: Path) -> None:
    drafts = list(simulate(CONFIG))
    commit_drafts(warehouse, drafts)
    leaked = drafts[4].context
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"conversation": [s.text for s in leaked.segments]}))
    version = publish_curated(warehouse, CurationConfig(benchmarks=(str(path),), overlap_words=13))
    members = warehouse.query(
        """SELECT e.context_id FROM episodes e JOIN dataset_members m USING (episode_id) WHERE dataset_id = ?""",
        (version.dataset_id,),
    )["context_id"]
    assert leaked.context_id not in set(members)
    total = warehouse.query("SELECT count(*) FROM episodes").item()
    assert version.episodes == total - left_out(warehouse, version)["contaminated"]
    path.write_text(json.dumps({"conversation": ["something else that nobody has ever said to anyone here"]}))
    assert publish_curated(warehouse, CurationConfig(benchmarks=(str(path),))).episodes == total


def test_episodes_that_came_meanwhile_are_not_published_unseen(warehouse: Warehouse) -> None:
    drafts = list(simulate(CONFIG))
    commit_drafts(warehouse, drafts[:6])
    curated = curate(warehouse, CurationConfig(), WHERE, "d")
    commit_drafts(warehouse, drafts[6:])
    where = WHERE.model_copy(update={"curation": curated.fingerprint})
    with pytest.raises(EvoError, match="publish again"):
        publish(warehouse, "d", "{}", None, where, curated.episodes)
    assert publish_curated(warehouse, CurationConfig()).number == 1


@pytest.mark.slow
def test_the_command_tells_what_was_left_out(evo: Callable[..., Any], tmp_path: Path) -> None:
    home, bench = tmp_path / "home", tmp_path / "bench.json"
    with Warehouse.open(home) as warehouse:
        drafts = list(simulate(CONFIG))
        commit_drafts(warehouse, drafts)
    bench.write_text(json.dumps([s.text for s in drafts[0].context.segments]))
    words = ("dataset", "publish", "mine", "--recipe", "demo", "--contexts", "12")
    done = evo(*words, "--decontaminate", str(bench), home=home)
    assert done.returncode == 0, done.stderr
    assert "left out: contaminated" in done.stdout
    shown = json.loads(evo("dataset", "show", "mine@1", "--json", home=home).stdout)
    assert shown["left_out"]["contaminated"] > 0
    failed = evo(*words, "--decontaminate", str(tmp_path / "none.json"), home=home)
    assert failed.returncode == 1
    assert "nothing was published" in failed.stderr.splitlines()[-1]
    assert "Traceback" not in failed.stderr

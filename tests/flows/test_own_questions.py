"""Questions of one's own: what is held out of documents is asked and never trained on, whatever a text becomes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from evoembedding.flows.curate import curate
from evoembedding.flows.gate import _questions
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import ClozeConfig, CurationConfig
from evoembedding.schemas.dataset import DatasetVersion, Failure, ModelRecord, ShardSet, TrainingRun
from evoembedding.schemas.episode import Document
from evoembedding.schemas.gate import Gate
from evoembedding.synth import cloze
from evoembedding.synth.curation.hold_out import held_out
from evoembedding.synth.documents import document
from evoembedding.synth.generators import drafted
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.own import own_questions
from evoembedding.warehouse.datasets.versions import EpisodeFilter, episodes_of, left_out, publish
from evoembedding.warehouse.documents.texts import add_documents
from tests.records import shard_set, trained_model, training_run

CONFIG = ClozeConfig()
WHERE = EpisodeFilter(verified=(drafted(cloze.generator, CONFIG).verify.fingerprint,))
SHARE = 0.3
NAMES = [f"town-{n}.txt" for n in range(30)]
APART = [name for name in NAMES if held_out([name], SHARE) is not None]


@pytest.fixture
def warehouse(tmp_path: Path) -> Any:
    with Warehouse.open(tmp_path) as opened:
        yield opened


def of_town(name: str, seed: int) -> Document:
    """A text of its own, under a name."""
    lines = [
        f"In {1500 + seed + i} the {i}th mill of Ward{seed * 97 + i} was let to Miller{seed * 89 + i}."
        for i in range(60)
    ]
    return document(name, " ".join(lines))


def add(warehouse: Warehouse, documents: Iterable[Document]) -> None:
    kept = list(documents)
    add_documents(warehouse, to_frame(Document, kept), to_frame(Failure, []))
    commit_drafts(warehouse, [draft for one in kept for draft in cloze.cloze(one, CONFIG)])


def published(warehouse: Warehouse, share: float = SHARE, near: float | None = 0.8) -> DatasetVersion:
    curated = curate(warehouse, CurationConfig(held_out=share, near_duplicate=near), WHERE, "d")
    where = WHERE.replace(curation=curated.fingerprint)
    return publish(warehouse, "d", "{}", None, where, curated.episodes)


def sources(warehouse: Warehouse, contexts: Iterable[str]) -> set[str]:
    rows = warehouse.query(
        """SELECT DISTINCT source_id FROM lake.context_documents JOIN lake.documents USING (document_id)
           WHERE list_contains(?, context_id)""",
        (list(contexts),),
    )
    return set(rows["source_id"])


def test_no_source_is_on_both_sides_of_the_line(warehouse: Warehouse) -> None:
    assert 4 < len(APART) < 15
    add(warehouse, (of_town(name, n) for n, name in enumerate(NAMES)))
    version = published(warehouse)
    own = own_questions(warehouse, version)
    assert own.name == "own:d@1"
    assert own.questions == left_out(warehouse, version)["held_out"]
    assert sources(warehouse, [one.conversation_id for one in own.conversations]) == set(APART)
    assert sources(warehouse, episodes_of(warehouse, version.dataset_id)["context_id"]) == set(NAMES) - set(APART)
    assert all(0 <= i < len(one.segments) for one in own.conversations for asked in one.queries for i in asked.gold)
    assert {one.slices for one in own.conversations} == {("licence:unknown",)}
    # An edited text stays on its side.
    add(warehouse, [of_town(APART[0], 100), of_town("new.txt", 101)])
    after = published(warehouse)
    assert APART[0] not in sources(warehouse, episodes_of(warehouse, after.dataset_id)["context_id"])
    assert len(own_questions(warehouse, after).conversations) > len(own.conversations)
    assert own_questions(warehouse, version) == own


@pytest.mark.parametrize("near", [0.8, None])
def test_what_nearly_repeats_a_held_out_text_is_not_trained_on(warehouse: Warehouse, near: float | None) -> None:
    add(warehouse, (of_town(name, n) for n, name in enumerate(NAMES)))
    before = published(warehouse, near=near)
    twin = next(name for name in (f"copy-{n}.txt" for n in range(99)) if held_out([name], SHARE) is None)
    text = of_town(APART[0], NAMES.index(APART[0])).text
    new = next(name for name in (f"new-{n}.txt" for n in range(99)) if held_out([name], SHARE) is None)
    add(warehouse, [document(twin, text + " So it was."), of_town(new, 50)])
    after = published(warehouse, near=near)
    assert twin not in sources(warehouse, episodes_of(warehouse, after.dataset_id)["context_id"])
    assert left_out(warehouse, after)["leaked"] > 0
    assert "near_duplicate" not in left_out(warehouse, after)
    assert own_questions(warehouse, after).conversations == own_questions(warehouse, before).conversations


def train_on(warehouse: Warehouse, version: DatasetVersion, name: str) -> None:
    """Rows of `model-NAME`, as if it had been trained on a version."""
    warehouse.append_all(
        {
            "shard_sets": to_frame(ShardSet, [shard_set(name, dataset_id=version.dataset_id)]),
            "training_runs": to_frame(TrainingRun, [training_run(name, shard_set_id=f"shards-{name}")]),
            "models": to_frame(ModelRecord, [trained_model(name)]),
        }
    )


def test_a_gate_asks_them_where_there_are_enough(warehouse: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    add(warehouse, (of_town(name, n) for n, name in enumerate(NAMES)))
    version = published(warehouse)
    train_on(warehouse, version, "m")
    asks = recipe("smallest").replace(gate=Gate(min_questions=5))
    assert _questions(warehouse, asks, ["model-m"]) == own_questions(warehouse, version, ["model-m"])
    few = recipe("smallest").replace(gate=Gate(min_questions=1000))
    assert _questions(warehouse, few, ["model-m"]).name.startswith("heldout:")
    assert "gate: own:d@1 has" in capsys.readouterr().err


def test_what_a_model_was_trained_on_is_not_asked(warehouse: Warehouse) -> None:
    add(warehouse, (of_town(name, n) for n, name in enumerate(NAMES)))
    first, second = published(warehouse, share=SHARE / 3), published(warehouse)
    train_on(warehouse, first, "m")
    everything, unseen = own_questions(warehouse, second), own_questions(warehouse, second, ["model-m"])
    assert unseen.questions + unseen.left_out == everything.questions
    assert sources(warehouse, [one.conversation_id for one in unseen.conversations]) == {
        name for name in NAMES if held_out([name], SHARE / 3) is not None
    }


def test_without_a_share_nothing_is_held_out(warehouse: Warehouse) -> None:
    add(warehouse, (of_town(name, n) for n, name in enumerate(NAMES)))
    version = published(warehouse, share=0)
    assert left_out(warehouse, version) == {}
    assert not own_questions(warehouse, version).questions

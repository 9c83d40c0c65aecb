"""Impact: every source reaches exactly the versions and models that used it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.episode import Context, Episode, Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.shard import EpisodeTokenizer
from evoembedding.schemas.teacher import TeacherCall
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.lineage.impact import impact, model_ids
from evoembedding.warehouse.lineage.tree import render_tree
from evoembedding.warehouse.shards.shard_sets import build_shards
from tests.records import teacher_call
from tests.warehouse.world import add_model, make_documents, make_partition


def taught(name: str, calls: tuple[str, ...], sources: tuple[str, ...] = ()) -> tuple[Context, Episode]:
    segments = (Segment(user="a"), Segment(user="b"))
    context = Context(
        context_id=f"ctx-{name}",
        kind="dialogue",
        generator="large",
        split="train",
        seed=0,
        document_ids=(),
        segments=segments,
        fingerprint="fp",
        source_ids=sources,
        calls=calls,
    )
    episode = Episode(
        episode_id=f"ep-{name}",
        context_id=f"ctx-{name}",
        question_id=f"q-{name}",
        generator="large",
        split="train",
        question_type="recall",
        family="f",
        question="?",
        answer="!",
        evidence=(0,),
        segments=2,
        fingerprint="fp",
    )
    return context, episode


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: EpisodeTokenizer,
) -> Iterator[Warehouse]:
    """Two versions, the first with a model: of ten contexts, and of these and two that a teacher made."""
    home: Path = tmp_path_factory.mktemp("home")
    with Warehouse.open(home) as warehouse:
        warehouse.append_all({"documents": make_documents(12), **make_partition(0, 10)})
        version = publish(warehouse, "d", "{}", None, EpisodeFilter())
        add_model(warehouse, build_shards(warehouse, version, tokenizer, home / "shards").shard_set_id)
        contexts, episodes = zip(
            taught("told", ("call-1",)), taught("remembered", ("call-2",), ("ctx-told",)), strict=True
        )
        warehouse.append_all(
            {
                "contexts": to_frame(Context, contexts),
                "episodes": to_frame(Episode, episodes),
                "teacher_calls": to_frame(
                    TeacherCall, [teacher_call("call-1", "large"), teacher_call("call-2", "small")]
                ),
            }
        )
        publish(warehouse, "d", "{}", None, EpisodeFilter())
        yield warehouse


@pytest.mark.parametrize("identity", ["doc-0003", "ctx-0003", "q-0003-0", "ep-0003"])
def test_a_source_reaches_the_model_and_both_versions(world: Warehouse, identity: str) -> None:
    tree = impact(world, identity)
    assert [child.label for child in tree.children] == ["d@1", "d@2"]
    assert [(child.facts["episodes from it"], child.facts["episodes"]) for child in tree.children] == [(1, 10), (1, 12)]
    assert model_ids(tree) == ["model-1"]
    assert tree.facts == {"episodes": 1, "dataset versions": 2, "models": 1}
    text = render_tree(tree)
    assert "run-1" in text
    assert "scores on heldout: 1" in text


@pytest.mark.parametrize("identity", ["doc-0002", "doc-0011", "q-0003-1"])
def test_what_nothing_was_made_of_says_so(world: Warehouse, identity: str) -> None:
    tree = impact(world, identity)
    assert tree.facts == {"episodes": 0, "dataset versions": 0, "models": 0}
    assert not tree.children


@pytest.mark.parametrize(
    ("identity", "kind", "episodes"),
    [
        ("call-1", "teacher call", 2),  # the memory was made of what it told
        ("call-2", "teacher call", 1),
        ("large", "teacher model", 2),
        ("small", "teacher model", 1),
        ("ctx-told", "context", 2),
        ("ctx-remembered", "context", 1),
    ],
)
def test_teachers_reach_what_was_made_of_their_answers(
    world: Warehouse, identity: str, kind: str, episodes: int
) -> None:
    tree = impact(world, identity)
    assert (tree.kind, tree.facts["episodes"]) == (kind, episodes)
    assert [child.label for child in tree.children] == ["d@2"]
    assert not model_ids(tree)


def test_a_version_reaches_its_model(world: Warehouse) -> None:
    assert model_ids(impact(world, "d@1")) == ["model-1"]
    assert not model_ids(impact(world, "d@2"))


@pytest.mark.parametrize("identity", ["doc-none", "d@3", "", "a'; DROP TABLE episodes; --", "../x", "é" * 300])
def test_an_unknown_id_is_one_sentence(world: Warehouse, identity: str) -> None:
    with pytest.raises(EvoError, match="nothing was looked up"):
        impact(world, identity)

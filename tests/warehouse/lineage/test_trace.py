"""Trace of what a teacher made: questions, evidence, verdicts, calls, memories; every kind of id; long lists."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import StageFingerprint
from evoembedding.schemas.episode import Context
from evoembedding.schemas.shard import EpisodeTokenizer
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.lineage.trace import documents_of, trace
from evoembedding.warehouse.lineage.tree import TraceNode, as_dict, json_parts, render_tree, tree_lines
from evoembedding.warehouse.shards.shard_sets import build_shards
from tests.records import NOW
from tests.warehouse.world import add_model, make_documents, make_partition, make_taught

CALLS = ("context", "question", "vote-0", "vote-1", "vote-2", "grounded", "closed_book")


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: EpisodeTokenizer,
) -> Iterator[Warehouse]:
    """Twenty offline contexts, one that a teacher asked about, and a memory of a context that is in no version."""
    home: Path = tmp_path_factory.mktemp("home")
    stages = [
        StageFingerprint(
            fingerprint=f"fp-{stage}",
            stage=stage,
            kind="web",
            scope="s",
            components=json.dumps({"code": "1"}),
            before=before,
            created_at=NOW,
        )
        for stage, before in (("contexts", ""), ("questions", "fp-contexts"))
    ]
    with Warehouse.open(home) as warehouse:
        told = make_taught("told", documents=("doc-0002",))
        warehouse.append_all({"documents": make_documents(20), **make_partition(0, 20)})
        warehouse.append_all({"fingerprints": to_frame(StageFingerprint, stages)})
        warehouse.append_all({name: told[name] for name in ("contexts", "teacher_calls")})
        warehouse.append_all(make_taught("remembered", "small", sources=("ctx-told",)))
        version = publish(warehouse, "traced", "{}", "abc", EpisodeFilter())
        add_model(warehouse, build_shards(warehouse, version, tokenizer, home / "shards").shard_set_id)
        yield warehouse


def nodes(node: TraceNode) -> Iterator[TraceNode]:
    yield node
    for child in node.children:
        yield from nodes(child)


def only(node: TraceNode, kind: str) -> TraceNode:
    (found,) = [one for one in nodes(node) if one.kind == kind]
    return found


def test_an_episode_tells_its_question_votes_verdicts_calls_and_the_source_of_its_memory(world: Warehouse) -> None:
    tree = trace(world, "ep-remembered", limit=0)
    assert only(tree, "question").facts["text"] == "Where?"
    assert only(tree, "question").facts["calls"] == ["call-remembered-question"]
    evidence = only(tree, "evidence")
    assert (evidence.label, evidence.facts["votes by segment"]) == ("segments 0, 1", {"0": 3, "1": 2})
    assert evidence.facts["voters"] == 3
    verdicts = only(tree, "verdicts")
    assert verdicts.label == "passed"
    assert (verdicts.facts["grounded"], verdicts.facts["grounded score"]) == ("passed", 0.75)
    assert (verdicts.facts["closed_book"], verdicts.facts["closed_book score"]) == ("passed", 0.0)
    assert [one.id for one in nodes(tree) if one.kind == "context"] == ["ctx-remembered", "ctx-told"]
    assert only(tree, "document").id == "doc-0002"
    calls = {one.id for one in nodes(tree) if one.kind == "teacher call"}
    assert calls == {f"call-remembered-{name}" for name in CALLS} | {"call-told-context"}
    assert {one.label for one in nodes(tree) if one.kind == "teacher calls"} == {
        "large for contexts",
        *(f"small for {stage}" for stage in ("contexts", "questions", "evidence", "verify")),
    }


def test_a_model_reaches_what_its_memories_were_made_of(world: Warehouse) -> None:
    tree = trace(world, "model-1")
    generator = next(one for one in nodes(tree) if one.kind == "generator" and one.id == "small")
    assert [one.id for one in nodes(generator) if one.kind == "context"] == ["ctx-remembered", "ctx-told"]
    assert "large for contexts" in {one.label for one in nodes(generator)}
    assert "doc-0002" in documents_of(world, "model-1")["document_id"].to_list()


@pytest.mark.parametrize(
    ("identity", "kind"),
    [
        ("eval-1", "score"),
        ("q-remembered", "question"),
        ("ctx-remembered", "context"),
        ("fp-questions", "stage fingerprint"),
        ("fp-verify", "stage fingerprint"),
        ("call-told-context", "teacher call"),
        ("small", "teacher model"),
    ],
)
def test_every_kind_of_id_is_accepted(world: Warehouse, identity: str, kind: str) -> None:
    tree = trace(world, identity)
    assert (tree.kind, tree.id) == (kind, identity)


def test_a_score_reaches_the_documents(world: Warehouse) -> None:
    tree = trace(world, "eval-1", limit=0)
    assert tree.facts["recall@1"] == 0.75
    assert {one.id for one in nodes(tree) if one.kind == "document"} >= {"doc-0002", "doc-0001"}


def test_a_fingerprint_tells_its_components_its_rows_and_the_stage_before(world: Warehouse) -> None:
    tree = trace(world, "fp-questions")
    assert (tree.facts["code"], tree.facts["rows of questions"]) == ("1", 1)
    assert [child.id for child in tree.children] == ["fp-contexts"]
    assert trace(world, "fp-verify").facts == {"rows of verdicts": 3, "rows of episodes": 1}


def test_a_limit_bounds_every_list_and_0_lists_all(world: Warehouse) -> None:
    short = list(nodes(trace(world, "traced", limit=1)))
    assert sum(one.kind == "context" for one in short) == 3 + 1  # one a generator, and the memory's source
    tree = trace(world, "traced", limit=0)
    whole = list(nodes(tree))
    assert len({one.id for one in whole if one.kind == "episode"}) == 21
    assert not [one for one in whole if one.kind == "more"]
    assert len(whole) == len(list(nodes(tree)))  # a tree can be walked again


@pytest.mark.parametrize("limit", [0, 2])
def test_streamed_text_and_json_are_the_whole_ones(world: Warehouse, limit: int) -> None:
    tree = trace(world, "model-1", limit=limit)
    streamed: Any = json.loads("".join(json_parts(tree)))
    assert streamed == as_dict(tree)
    assert "\n".join(tree_lines(tree)) == render_tree(tree)


def test_contexts_that_name_each_other_do_not_turn_in_circles(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        for name, other in (("a", "b"), ("b", "a")):
            warehouse.append_all(make_taught(name, sources=(f"ctx-{other}",)))
        publish(warehouse, "circle", "{}", "", EpisodeFilter())
        for identity in ("circle", "ctx-a", "ep-b"):
            assert {"ctx-a", "ctx-b"} <= {one.id for one in nodes(trace(warehouse, identity))}


def test_rows_of_an_older_warehouse_hold_no_lists(tmp_path: Path) -> None:
    """Columns that came later hold NULL in the rows that were there."""
    frame = make_taught("old")["contexts"].with_columns(
        pl.lit(None, pl.List(pl.String)).alias("calls"), pl.lit(None, pl.List(pl.String)).alias("source_ids")
    )
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.append_all({**make_taught("old"), "contexts": frame})
        assert list(frame.schema) == list(Context.model_fields)
        assert trace(warehouse, "ep-old").children[1].facts["kind"] == "dialogue"

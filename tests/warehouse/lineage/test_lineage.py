"""Lineage from a model to its documents, and the funnel that must balance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.episode import Question
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.shard import EpisodeTokenizer
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.funnel import assert_balanced, funnel
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.lineage.trace import documents_of, trace
from evoembedding.warehouse.lineage.tree import TraceNode, as_dict, render_tree
from evoembedding.warehouse.shards.shard_sets import build_shards
from tests.warehouse.world import add_model


@pytest.fixture(scope="module")
def tree(
    warehouse: Warehouse,
    tokenizer: EpisodeTokenizer,
    tmp_path_factory: pytest.TempPathFactory,
) -> TraceNode:
    version = publish(warehouse, "traced", '{"name": "r"}', "abc", EpisodeFilter())
    shards = build_shards(warehouse, version, tokenizer, warehouse.home / "shards")
    add_model(warehouse, shards.shard_set_id)
    return trace(warehouse, "model-1")


def kinds(node: TraceNode) -> list[str]:
    return [node.kind, *(kind for child in node.children for kind in kinds(child))]


def test_model_reaches_documents(tree: TraceNode, warehouse: Warehouse) -> None:
    assert kinds(tree)[:4] == ["model", "training run", "shard set", "dataset"]
    assert {"generator", "context", "episode", "document"} <= set(kinds(tree))
    text = render_tree(tree)
    for part in (
        "model-1",
        "run-1",
        "traced@1",
        "simulator",
        "cloze",
        "pep-0001",
        "and 12 more",
        "scores on heldout: 1",
    ):
        assert part in text
    assert json.loads(json.dumps(as_dict(tree)))["children"][0]["id"] == "run-1"
    used = [f"pep-{n:04d}" for n in range(1, 30, 2)]
    assert documents_of(warehouse, "model-1")["source_id"].to_list() == used
    assert documents_of(warehouse, "traced")["source_id"].to_list() == used


@pytest.mark.parametrize(
    ("identity", "kind"),
    [
        ("run-1", "training run"),
        ("traced", "dataset"),
        ("traced@1", "dataset"),
        ("ep-0001", "episode"),
        ("ctx-0001", "context"),
        ("doc-0001", "document"),
    ],
)
def test_any_id_can_be_traced(tree: TraceNode, warehouse: Warehouse, identity: str, kind: str) -> None:
    node = trace(warehouse, identity)
    assert node.kind == kind
    assert "pep-0001" in render_tree(node)


def test_unknown_id_names_what_is_there(tree: TraceNode, warehouse: Warehouse) -> None:
    for identity in ("model-none", "traced@9", "' OR 1=1 --"):
        with pytest.raises(EvoError, match="traced@1"):
            trace(warehouse, identity)


def test_control_characters_stay_in_their_line() -> None:
    node = TraceNode("document", "d", "a\n\x1b[31mb", {})
    assert len(render_tree(node).splitlines()) == 1
    assert "\x1b" not in render_tree(node)


def test_funnel_counts_and_balances(warehouse: Warehouse) -> None:
    rows = funnel(warehouse, ("fp",)).rows()
    assert ("cloze", "drafted", "", "", 30) in rows
    assert ("cloze", "accepted", "", "", 15) in rows
    assert ("cloze", "rejected", "unique", "duplicate", 15) in rows
    assert_balanced(warehouse)


def test_question_without_verdict_is_found(tmp_path: Path) -> None:
    question = Question(
        question_id="q",
        context_id="c",
        question_type="t",
        family="f",
        text="?",
        answer="!",
        generator="g",
        fingerprint="fp",
    )
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.append("questions", to_frame(Question, [question]))
        assert funnel(warehouse, ("other",)).is_empty()
        with pytest.raises(EvoError, match="'g' does not balance: 1 drafted, 0 accepted and 0 rejected"):
            assert_balanced(warehouse)

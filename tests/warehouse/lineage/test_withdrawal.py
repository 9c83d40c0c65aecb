"""Withdrawal: all or nothing, once and for all, through memories; and old versions still tell the truth."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from evoembedding.schemas.dataset import Withdrawal
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.shard import EpisodeTokenizer
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.diff import diff
from evoembedding.warehouse.datasets.versions import EpisodeFilter, as_of, episodes_of, list_versions, publish, resolve
from evoembedding.warehouse.lineage import withdrawal as module
from evoembedding.warehouse.lineage.impact import impact
from evoembedding.warehouse.lineage.trace import trace
from evoembedding.warehouse.lineage.tree import TraceNode, render_mermaid, render_tree
from evoembedding.warehouse.lineage.withdrawal import Withdrawn, withdraw
from evoembedding.warehouse.lineage.withdrawal_marks import withdrawals
from evoembedding.warehouse.shards.shard_sets import build_shards
from tests.warehouse.world import add_model, make_documents, make_partition, make_taught

ALL = EpisodeFilter()


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: EpisodeTokenizer,
) -> Path:
    """all@1 of six offline contexts, with a model; all@2 with a context on doc-0002 and a memory of it besides; cloze@1
    of the three offline contexts that have documents; dialogues@1 of the other three, which have none.
    """
    folder = tmp_path_factory.mktemp("template")
    with Warehouse.open(folder) as warehouse:
        warehouse.append_all({"documents": make_documents(8), **make_partition(0, 6)})
        first = publish(warehouse, "all", '{"name": "r"}', "abc", ALL)
        add_model(warehouse, build_shards(warehouse, first, tokenizer, folder / "shards").shard_set_id)
        publish(warehouse, "cloze", "{}", "abc", EpisodeFilter(generators=("cloze",)))
        publish(warehouse, "dialogues", "{}", "abc", EpisodeFilter(generators=("simulator",)))
        warehouse.append_all(make_taught("told", documents=("doc-0002",)))
        warehouse.append_all(make_taught("remembered", "small", sources=("ctx-told",)))
        publish(warehouse, "all", '{"name": "r"}', "abc", ALL)
    return folder


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    """A copy for each test: a warehouse may be moved."""
    return Path(shutil.copytree(template, tmp_path / "home"))


@pytest.fixture
def warehouse(home: Path) -> Iterator[Warehouse]:
    with Warehouse.open(home) as opened:
        yield opened


def ask(warehouse: Warehouse, identity: str, reason: str = "licence", dry_run: bool = False) -> Withdrawn:
    return withdraw(warehouse, identity, reason, "an auditor", "def", dry_run)


def labels(warehouse: Warehouse) -> list[str]:
    return sorted(version.label for version in list_versions(warehouse))


def episodes(warehouse: Warehouse, label: str) -> set[str]:
    return set(episodes_of(warehouse, resolve(warehouse, label).dataset_id)["episode_id"])


def find(node: TraceNode, identity: str) -> Iterator[TraceNode]:
    if node.id == identity:
        yield node
    for child in node.children:
        yield from find(child, identity)


BEFORE = ["all@1", "all@2", "cloze@1", "dialogues@1"]


def test_every_name_that_held_any_gets_a_successor_without_them(warehouse: Warehouse) -> None:
    done = ask(warehouse, "doc-0003")
    assert [(s.before, s.after, s.episodes_withdrawn, s.episodes) for s in done.successors] == [
        ("all@2", "all@3", 1, 7),
        ("cloze@1", "cloze@2", 1, 2),
    ]
    assert labels(warehouse) == sorted([*BEFORE, "all@3", "cloze@2"])
    assert episodes(warehouse, "all@2") - episodes(warehouse, "all@3") == {"ep-0003"}
    new, old = resolve(warehouse, "all@3"), resolve(warehouse, "all@2")
    assert (new.parent, new.recipe, new.git_commit, new.episodes) == ("all@2", old.recipe, "def", 7)
    assert done.retrain == {"model-1": "all@3"}
    assert done.withdrawal == withdrawals(warehouse)[0]
    assert (done.withdrawal.kind, done.withdrawal.reason, done.withdrawal.withdrawn_by) == (
        "document",
        "licence",
        "an auditor",
    )
    told = render_tree(done.tree)
    for part in ("successor: all@3, successor's episodes: 7", "retrain on: all@3", "by an auditor: licence", "run-1"):
        assert part in told


def test_a_diff_tells_that_they_were_withdrawn(warehouse: Warehouse) -> None:
    ask(warehouse, "doc-0003")
    old, new = resolve(warehouse, "all@2"), resolve(warehouse, "all@3")
    (went,) = diff(warehouse, old, new).changes
    assert (went.change, went.why, went.such_as) == ("went", "what it was made from was withdrawn", ("ep-0003",))
    (came,) = diff(warehouse, new, old).changes
    assert (came.change, came.why) != ("came", "what it was made from was withdrawn")


def test_memories_of_its_contexts_go_too(warehouse: Warehouse) -> None:
    done = ask(warehouse, "doc-0002")
    assert [(s.after, s.episodes_withdrawn) for s in done.successors] == [("all@3", 2)]
    assert episodes(warehouse, "all@2") - episodes(warehouse, "all@3") == {"ep-told", "ep-remembered"}
    assert done.retrain == {}  # the model read all@1 only, which held neither


@pytest.mark.parametrize(
    ("identity", "gone"),
    [
        ("ctx-told", {"ep-told", "ep-remembered"}),
        ("large", {"ep-told", "ep-remembered"}),
        ("small", {"ep-remembered"}),
        ("call-told-question", {"ep-told"}),
        ("q-remembered", {"ep-remembered"}),
        ("ep-0003", {"ep-0003"}),
    ],
)
def test_other_sources(warehouse: Warehouse, identity: str, gone: set[str]) -> None:
    ask(warehouse, identity)
    assert episodes(warehouse, "all@2") - episodes(warehouse, "all") == gone
    assert resolve(warehouse, publish(warehouse, "all", "{}", "", ALL).label).label == "all@3"


def test_a_successor_equal_to_an_older_version_is_the_newest_all_the_same(warehouse: Warehouse) -> None:
    ask(warehouse, "doc-0002")
    assert episodes(warehouse, "all@3") == episodes(warehouse, "all@1")
    assert resolve(warehouse, "all@3").digest == resolve(warehouse, "all@1").digest
    assert len({version.dataset_id for version in list_versions(warehouse)}) == 5
    assert publish(warehouse, "all", "{}", "", ALL).label == "all@3"  # not all@1


def test_asked_twice_gives_the_same(warehouse: Warehouse) -> None:
    first, again = ask(warehouse, "doc-0003"), ask(warehouse, "doc-0003", "another reason")
    assert again.withdrawal == first.withdrawal
    assert (first.new, again.new) == (True, False)
    assert [s.model_copy(update={"published": True}) for s in again.successors] == list(first.successors)
    assert not any(s.published for s in again.successors)
    assert again.retrain == first.retrain
    assert len(withdrawals(warehouse)) == 1


def test_a_dry_run_shows_what_would_follow_and_stores_nothing(warehouse: Warehouse) -> None:
    before = warehouse.snapshot()
    shown = ask(warehouse, "doc-0003", dry_run=True)
    assert warehouse.snapshot() == before
    assert labels(warehouse) == BEFORE
    assert not withdrawals(warehouse)
    done = ask(warehouse, "doc-0003")
    pairs = [[(s.before, s.after, s.episodes, s.episodes_withdrawn) for s in one.successors] for one in (shown, done)]
    assert pairs[0] == pairs[1]
    assert shown.retrain == done.retrain


def test_what_nothing_was_made_of_is_recorded(warehouse: Warehouse) -> None:
    done = ask(warehouse, "doc-0004")
    assert (done.successors, done.retrain) == ((), {})
    assert [one.source for one in withdrawals(warehouse)] == ["doc-0004"]
    assert labels(warehouse) == BEFORE


def test_what_is_made_of_it_later_is_not_published_either(warehouse: Warehouse) -> None:
    ask(warehouse, "doc-0002")
    late = make_taught("late", "small", sources=("ctx-remembered",))
    warehouse.append_all(late)
    warehouse.append_all(make_taught("fine"))
    assert episodes(warehouse, publish(warehouse, "all", "{}", "", ALL).label) == {
        *(f"ep-{n:04d}" for n in range(6)),
        "ep-fine",
    }
    assert "withdrawn" in trace(warehouse, "ep-late").facts


def test_nothing_left_is_an_empty_version_and_nothing_more_is_published(warehouse: Warehouse) -> None:
    for document in ("doc-0001", "doc-0003", "doc-0005"):
        ask(warehouse, document)
    newest = resolve(warehouse, "cloze")
    assert (newest.label, newest.episodes) == ("cloze@4", 0)
    with pytest.raises(EvoError, match="no train episodes of this recipe"):
        publish(warehouse, "cloze", "{}", "", EpisodeFilter(generators=("cloze",)))


def test_old_versions_still_tell_the_truth(home: Path, warehouse: Warehouse) -> None:
    ask(warehouse, "doc-0002")
    tree = trace(warehouse, "all@2", limit=0)
    assert tree.facts["withdrawn"] == "2 of its episodes"
    for identity, note in (
        ("doc-0002", "by an auditor: licence"),
        ("ctx-told", "made from a withdrawn source"),
        ("ep-remembered", "made from a withdrawn source"),
    ):
        assert all(note in node.facts["withdrawn"] for node in find(tree, identity))
        assert list(find(tree, identity))
    assert all("withdrawn" not in node.facts for node in find(tree, "ep-0003"))
    assert "withdrawn" not in trace(warehouse, "all@3").facts
    with as_of(home, "all@2") as then:
        assert "withdrawn" not in render_tree(trace(then, "all@2", limit=0))
    with as_of(home, "all@3") as then:
        assert trace(then, "all@2").facts["withdrawn"] == "2 of its episodes"


def test_models_of_withdrawn_episodes_are_marked(warehouse: Warehouse) -> None:
    ask(warehouse, "doc-0003")
    assert trace(warehouse, "model-1").facts["withdrawn"] == "1 of its episodes"
    assert "class" in render_mermaid(impact(warehouse, "doc-0003"), upward=True)


def test_all_or_nothing(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    made, real = [], module.add_version

    def failing(*args: object, **named: object) -> object:
        if made:
            raise ValueError("the second one fails")
        made.append(real(*args, **named))  # type: ignore[arg-type]
        return made[0]

    monkeypatch.setattr(module, "add_version", failing)
    with pytest.raises(ValueError, match="second"):
        ask(warehouse, "doc-0003")
    assert len(made) == 1
    assert labels(warehouse) == BEFORE
    assert not withdrawals(warehouse)


@pytest.mark.parametrize("identity", ["doc-none", "all@2", "model-1", "", "a'; DROP TABLE episodes; --", "é" * 300])
def test_what_cannot_be_withdrawn_is_one_sentence(warehouse: Warehouse, identity: str) -> None:
    with pytest.raises(EvoError, match="nothing was withdrawn") as caught:
        ask(warehouse, identity)
    assert "\n" not in str(caught.value)
    assert not withdrawals(warehouse)


def test_hostile_reasons_are_stored_as_they_are(warehouse: Warehouse) -> None:
    reason = "x'); DROP TABLE episodes; --\n🙂" + "y" * 300
    ask(warehouse, "doc-0003", reason)
    assert withdrawals(warehouse)[0].reason == reason
    assert len(render_tree(trace(warehouse, "doc-0003")).splitlines()) == 1
    assert isinstance(withdrawals(warehouse)[0], Withdrawal)

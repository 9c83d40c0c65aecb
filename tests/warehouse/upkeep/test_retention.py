"""Expiring: what no version needs goes, what waits for a publish stays, and nothing that stays is changed by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import DatasetVersion, Outcome
from evoembedding.schemas.episode import Verdict
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.shard import EpisodeTokenizer
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.diff import diff
from evoembedding.warehouse.datasets.funnel import assert_balanced, funnel
from evoembedding.warehouse.datasets.tags import set_tag
from evoembedding.warehouse.datasets.versions import EpisodeFilter, episodes_of, list_versions, publish, resolve
from evoembedding.warehouse.lineage.trace import trace
from evoembedding.warehouse.shards.shard_sets import build_shards, check_shards
from evoembedding.warehouse.upkeep.retention import Expired, expire
from tests.records import NOW
from tests.warehouse.world import add_model, make_partition

Frames = dict[str, pl.DataFrame]
TABLES = ("contexts", "questions", "evidence", "verdicts", "episodes", "outcomes", "dataset_members")


def marked(frames: Frames, mark: str, **columns: object) -> Frames:
    """The rows as other settings would have made them: under other ids and another fingerprint."""
    out = {}
    for name, frame in frames.items():
        ids = [c for c in frame.columns if c in ("context_id", "question_id", "episode_id")]
        changed = [pl.when(pl.col(c) == "").then(pl.col(c)).otherwise(pl.col(c) + f"-{mark}").alias(c) for c in ids]
        own = [pl.lit(value).alias(c) for c, value in columns.items() if c in frame.columns]
        out[name] = frame.with_columns(*changed, pl.lit(mark).alias("fingerprint"), *own)
    return out


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    with Warehouse.open(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def three(warehouse: Warehouse) -> list[DatasetVersion]:
    """d@1 of ten contexts, d@2 of these and ten more, e@1 of twelve contexts under other settings."""
    warehouse.append_all(make_partition(0, 10))
    first = publish(warehouse, "d", "{}", None, EpisodeFilter())
    warehouse.append_all(make_partition(10, 20))
    second = publish(warehouse, "d", "{}", None, EpisodeFilter())
    warehouse.append_all(marked(make_partition(0, 12), "fp-e"))
    return [first, second, publish(warehouse, "e", "{}", None, EpisodeFilter(fingerprints=("fp-e",)))]


def counts(warehouse: Warehouse) -> dict[str, int]:
    return {table: warehouse.query(f"SELECT count(*) FROM {table}").item() for table in TABLES}


def state(warehouse: Warehouse) -> dict[str, list[str]]:
    return {v.label: episodes_of(warehouse, v.dataset_id)["episode_id"].to_list() for v in list_versions(warehouse)}


def rows(expired: Expired) -> dict[str, int]:
    return {table: count for table, count in expired.rows.items() if count}


def test_nothing_goes_while_versions_need_it(warehouse: Warehouse, three: list[DatasetVersion]) -> None:
    before, snapshot = counts(warehouse), warehouse.snapshot()
    assert rows(expire(warehouse)) == {}
    assert warehouse.snapshot() == snapshot
    done = expire(warehouse, dry=False)
    assert (rows(done), counts(warehouse)) == ({}, before)


def test_a_dry_run_says_what_then_goes(warehouse: Warehouse, three: list[DatasetVersion]) -> None:
    before, was = counts(warehouse), state(warehouse)
    said = expire(warehouse, ["e@1"])
    assert counts(warehouse) == before
    assert said.retired == ("e@1",)
    assert rows(said) == {
        "contexts": 12, "questions": 24, "evidence": 24, "verdicts": 24, "episodes": 12, "dataset_members": 12,
    }  # fmt: skip
    done = expire(warehouse, ["e@1"], dry=False)
    assert done.rows == said.rows
    after = counts(warehouse)
    assert {table: before[table] - after[table] for table in TABLES} == {**dict.fromkeys(TABLES, 0), **rows(said)}
    assert state(warehouse) == {**was, "e@1": []}
    assert_balanced(warehouse)
    assert rows(expire(warehouse, ["e@1"], dry=False)) == {}  # again changes nothing


def test_a_version_s_episodes_go_only_when_no_other_holds_them(
    warehouse: Warehouse, three: list[DatasetVersion]
) -> None:
    assert rows(expire(warehouse, ["d@1"], dry=False)) == {"dataset_members": 10}
    assert len(episodes_of(warehouse, three[1].dataset_id)) == 20
    assert rows(expire(warehouse, ["d@2"], dry=False))["contexts"] == 20
    assert warehouse.query("SELECT count(*) FROM contexts").item() == 12


def test_what_was_made_since_the_newest_version_waits(warehouse: Warehouse, three: list[DatasetVersion]) -> None:
    warehouse.append_all(marked(make_partition(0, 4), "fp-new"))
    warehouse.append_all(make_partition(20, 23))
    assert rows(expire(warehouse, dry=False)) == {}
    assert publish(warehouse, "d", "{}", None, EpisodeFilter(fingerprints=("fp",))).episodes == 23


def test_what_settings_that_no_version_uses_have_made_goes(warehouse: Warehouse, three: list[DatasetVersion]) -> None:
    warehouse.append_all(marked(make_partition(0, 4), "fp-tried"))
    warehouse.append_all(marked(make_partition(0, 4), "fp-scored", split="heldout"))
    warehouse.append_all(make_partition(20, 23))
    publish(warehouse, "d", "{}", None, EpisodeFilter(fingerprints=("fp",)))
    done = expire(warehouse, dry=False)
    assert rows(done) == {"contexts": 4, "questions": 8, "evidence": 8, "verdicts": 8, "episodes": 4}
    left = set(warehouse.query("SELECT DISTINCT fingerprint FROM contexts")["fingerprint"])
    assert left == {"fp", "fp-e", "fp-scored"}  # held-out contexts are never published


def test_the_source_of_a_memory_stays_with_it(warehouse: Warehouse) -> None:
    source, memory = marked(make_partition(0, 1), "fp-source"), marked(make_partition(2, 3), "fp-memory")
    named = pl.lit(["ctx-0000-fp-source"], dtype=pl.List(pl.String)).alias("source_ids")
    memory["contexts"] = memory["contexts"].with_columns(named)
    warehouse.append_all(source)
    warehouse.append_all(memory)
    publish(warehouse, "m", "{}", None, EpisodeFilter(fingerprints=("fp-memory",)))
    assert rows(expire(warehouse, dry=False)) == {}
    assert rows(expire(warehouse, ["m@1"], dry=False))["contexts"] == 2


def test_outcomes_go_with_their_items_so_that_they_can_be_made_again(warehouse: Warehouse) -> None:
    taught = marked(make_partition(1, 4), "ver", kind="web")
    taught["contexts"] = taught["contexts"].with_columns(pl.lit("ctx").alias("fingerprint"))
    blank = dict.fromkeys(
        ("contexts", "failed_contexts", "asked", "drafted", "failed", "accepted", "rejected", "attempt"), 1
    )
    made = dict(
        zip(("web:doc-0001", "dialogue:2", "web:doc-0003"), sorted(taught["contexts"]["context_id"]), strict=True)
    )
    outcomes = [
        Outcome(item=item, context_id=context, fingerprint="ver", scope="s", kind="web", created_at=NOW, **blank)
        for item, context in {**made, "web:doc-else": "ctx-else", "web:doc-failed": ""}.items()
    ]
    earlier = outcomes[0].replace(attempt=0, context_id="")  # it failed at first
    warehouse.append_all({**taught, "outcomes": to_frame(Outcome, [*outcomes, earlier])})
    publish(warehouse, "t", "{}", None, EpisodeFilter())
    assert rows(expire(warehouse, ["t"], dry=False))["outcomes"] == 4
    assert set(warehouse.query("SELECT item FROM outcomes")["item"]) == {"web:doc-else", "web:doc-failed"}


def test_what_was_left_out_stays_left_out(warehouse: Warehouse, three: list[DatasetVersion]) -> None:
    out = Verdict(
        question_id="q-0003-0-fp-e", check_name="near_duplicate", passed=False, reason="twin", fingerprint="cur",
        episode_id="ep-0003-fp-e",
    )  # fmt: skip
    warehouse.append("verdicts", to_frame(Verdict, [out]))
    where = EpisodeFilter(fingerprints=("fp-e",), curation="cur")
    version = publish(warehouse, "e", "{}", None, where)
    before = diff(warehouse, three[0], version)
    expire(warehouse, ["e@1"], dry=False)
    # It is of settings in use: it stays, so that synthesis does not make it again, and so does the reason.
    assert warehouse.query("SELECT count(*) FROM contexts WHERE fingerprint = 'fp-e'").item() == 11
    assert diff(warehouse, three[0], version) == before
    warehouse.append_all(marked(make_partition(0, 12), "fp-e"))
    assert publish(warehouse, "e", "{}", None, where) == version


def test_the_versions_that_stay_publish_shard_and_trace_as_before(
    warehouse: Warehouse, three: list[DatasetVersion], tokenizer: EpisodeTokenizer, tmp_path: Path
) -> None:
    shards = build_shards(warehouse, three[0], tokenizer, warehouse.home / "shards")
    gone = build_shards(warehouse, three[2], tokenizer, warehouse.home / "shards")
    manifest, tree = check_shards(warehouse.home / shards.place), trace(warehouse, "d@1")
    done = expire(warehouse, ["e@1"], forget_past=True, dry=False)
    assert done.shard_sets == (gone.shard_set_id,)
    assert not (warehouse.home / gone.place).exists()
    again = build_shards(warehouse, three[0], tokenizer, warehouse.home / "again")
    assert again.manifest_digest == shards.manifest_digest
    assert (check_shards(warehouse.home / shards.place), trace(warehouse, "d@1")) == (manifest, tree)
    assert publish(warehouse, "d", "{}", None, EpisodeFilter()) == three[1]
    warehouse.append_all(make_partition(20, 25))
    assert publish(warehouse, "d", "{}", None, EpisodeFilter()).label == "d@3"
    assert_balanced(warehouse)


def test_a_retired_version_s_number_is_its_own(warehouse: Warehouse, three: list[DatasetVersion]) -> None:
    expire(warehouse, ["e"], dry=False)
    with pytest.raises(EvoError, match="e@1 was retired"):
        resolve(warehouse, "e@1")
    assert trace(warehouse, "e@1").label == "e@1"
    warehouse.append_all(marked(make_partition(0, 3), "fp-e"))
    where = EpisodeFilter(fingerprints=("fp-e",))
    assert publish(warehouse, "e", "{}", None, where).label == "e@2"
    warehouse.append_all(marked(make_partition(3, 12), "fp-e"))
    assert publish(warehouse, "e", "{}", None, where) == three[2]  # the same content is that version again
    assert len(episodes_of(warehouse, resolve(warehouse, "e@1").dataset_id)) == 12


def test_a_version_with_a_model_or_a_tag_is_not_retired_unless_forced(
    warehouse: Warehouse,
    three: list[DatasetVersion],
    tokenizer: EpisodeTokenizer,
    tmp_path: Path,
) -> None:
    add_model(warehouse, build_shards(warehouse, three[2], tokenizer, warehouse.home / "shards").shard_set_id)
    set_tag(warehouse, "d@2", "stable")
    before = counts(warehouse)
    for label, says in (("e@1", "model-1"), ("d@stable", "stable"), ("x@1", "unknown")):
        with pytest.raises(EvoError, match=says):
            expire(warehouse, ["d@1", label], dry=False)
    assert counts(warehouse) == before
    assert expire(warehouse, ["e@1"], force=True, dry=False).rows["contexts"] == 12
    assert trace(warehouse, "model-1").children[0].children[0].children[0].label == "e@1"


def test_past_states_of_versions_that_stay_hold_bytes_back_until_they_are_forgotten(
    warehouse: Warehouse, three: list[DatasetVersion]
) -> None:
    data = warehouse.home / "warehouse" / "data"

    def size() -> int:
        return sum(path.stat().st_size for path in data.rglob("*.parquet"))

    publish(warehouse, "d", "{}", None, EpisodeFilter(generators=("cloze",)))  # after e@1: its state holds e's rows
    said = expire(warehouse, ["e@1"])
    assert said.reclaimed.held > 0
    kept = size()
    expire(warehouse, ["e@1"], dry=False)
    assert size() >= kept
    there = set(warehouse.query("SELECT snapshot_id FROM ducklake_snapshots('lake')")["snapshot_id"])
    for version in (v for v in list_versions(warehouse) if v.name == "d"):
        assert {version.snapshot, version.snapshot + 1} <= there  # published from the one, and there in the other
    kept, said = size(), expire(warehouse, forget_past=True)
    assert said.reclaimed.bytes > 0
    assert said.reclaimed.held == 0
    done = expire(warehouse, forget_past=True, dry=False)
    assert done.reclaimed.files > 0
    assert done.reclaimed.bytes == kept - size() > 0
    assert len(warehouse.query("SELECT snapshot_id FROM ducklake_snapshots('lake')")) == 1
    with pytest.raises(EvoError, match="has given that past state up"):
        Warehouse.open(warehouse.home, at=three[0].snapshot)
    assert len(funnel(warehouse)) > 0
    assert [len(ids) for ids in state(warehouse).values()] == [10, 20, 0, 16]

"""As of a version: what was known when it was published, the version itself included and nothing that came later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.shard import EpisodeTokenizer
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, as_of, list_versions, publish, resolve, snapshot_of
from evoembedding.warehouse.lineage.impact import impact
from evoembedding.warehouse.lineage.trace import trace
from evoembedding.warehouse.lineage.tree import as_dict
from evoembedding.warehouse.shards.shard_sets import build_shards
from tests.warehouse.world import add_model, make_documents, make_partition


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: EpisodeTokenizer,
) -> Iterator[Path]:
    """d@1, another name, a model of d@1, then d@2, each after further contexts."""
    folder = tmp_path_factory.mktemp("home")
    with Warehouse.open(folder) as warehouse:
        warehouse.append_all({"documents": make_documents(30), **make_partition(0, 10)})
        first = publish(warehouse, "d", "{}", None, EpisodeFilter())
        warehouse.append_all(make_partition(10, 12))
        publish(warehouse, "other", "{}", None, EpisodeFilter())
        add_model(warehouse, build_shards(warehouse, first, tokenizer, folder / "shards").shard_set_id)
        warehouse.append_all(make_partition(12, 14))
        publish(warehouse, "d", "{}", None, EpisodeFilter())
    yield folder


def test_the_version_is_known_and_what_came_later_is_not(home: Path) -> None:
    with as_of(home, "d@1") as then:
        assert [version.label for version in list_versions(then)] == ["d@1"]
        assert len(then.query("SELECT * FROM lake.episodes")) == 10
        assert trace(then, "d@1", limit=0).facts["episodes"] == 10
        assert impact(then, "doc-0003").facts["models"] == 0
        for later in ("model-1", "d@2", "ctx-0012"):
            with pytest.raises(EvoError, match="unknown"):
                trace(then, later)
    with as_of(home, "d") as then:  # the newest
        assert [version.label for version in list_versions(then)] == ["d@1", "other@1", "d@2"]
        assert impact(then, "doc-0003").facts["models"] == 1


def test_a_version_traces_the_same_then_and_now(home: Path) -> None:
    with Warehouse.open(home) as now, as_of(home, "d@1") as then:
        assert as_dict(trace(then, "d@1", limit=0)) == as_dict(trace(now, "d@1", limit=0))


def test_merged_files_do_not_change_what_was_known(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        before = {v.label: snapshot_of(warehouse, v) for v in list_versions(warehouse)}
        assert all(v.snapshot < before[v.label] for v in list_versions(warehouse))
        assert len(set(before.values())) == 3
        for step in ("flush_inlined_data", "merge_adjacent_files"):
            warehouse.query(f"CALL ducklake_{step}('lake')")
        assert {v.label: snapshot_of(warehouse, v) for v in list_versions(warehouse)} == before
    with as_of(home, "other@1") as then:
        assert len(then.query("SELECT * FROM lake.episodes")) == 12


def test_an_expired_snapshot_and_an_unknown_version_are_one_sentence(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        for stop in (2, 4):
            warehouse.append_all(make_partition(0, stop))
            publish(warehouse, "d", "{}", None, EpisodeFilter())
        kept = snapshot_of(warehouse, resolve(warehouse, "d@2"))
        warehouse.query("CALL ducklake_expire_snapshots('lake', versions => [?])", (kept - 2,))
        with pytest.raises(EvoError, match="published d@1, has been expired"):
            snapshot_of(warehouse, resolve(warehouse, "d@1"))
    with pytest.raises(EvoError, match="d@7"), as_of(tmp_path, "d@7"):
        pass


def published_before(home: Path, change: str) -> None:
    """A warehouse with d@2 of older code: published when that SQL had made its tables what they were."""
    with Warehouse.open(home) as warehouse:
        warehouse.append_all(make_partition(0, 2))
        new = publish(warehouse, "d", "{}", None, EpisodeFilter())
        warehouse.transaction(lambda con: con.execute(change))
        old = new.replace(dataset_id="ds-old", number=2, digest="", snapshot=warehouse.snapshot())
        warehouse.append("dataset_versions", to_frame(DatasetVersion, [old]))


def test_tables_of_an_older_code_are_one_sentence(tmp_path: Path) -> None:
    published_before(tmp_path, "ALTER TABLE lake.contexts DROP COLUMN source_ids")
    with Warehouse.open(tmp_path) as warehouse:  # adds what is missing
        assert trace(warehouse, "d@2").label == "d@2"
    with pytest.raises(EvoError, match="older version of this code"), as_of(tmp_path, "d@2") as then:
        trace(then, "d@2")


def test_a_version_from_before_withdrawals_were_known_has_none(tmp_path: Path) -> None:
    published_before(tmp_path, "DROP TABLE lake.withdrawals")
    with Warehouse.open(tmp_path):  # makes the table again
        pass
    with as_of(tmp_path, "d@2") as then:
        assert trace(then, "d@1").facts["episodes"] == 2

"""Shards: sorted, checked against a manifest that is written last, rebuilt when it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from evoembedding.schemas.arrow import polars_schema
from evoembedding.schemas.dataset import DatasetVersion, ShardSet
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.shard import EpisodeTokenizer, ShardRow
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, episodes_of, publish
from evoembedding.warehouse.shards.shard_sets import MANIFEST, build_shards, read_manifest, read_shards


@pytest.fixture(scope="module")
def version(warehouse: Warehouse) -> DatasetVersion:
    return publish(warehouse, "sharded", "{}", "", EpisodeFilter())


@pytest.fixture
def folder(warehouse: Warehouse, tmp_path: Path) -> Path:
    """One of the test's own in the state folder, which the module's tests share."""
    return warehouse.home / tmp_path.name


@pytest.fixture
def shards(warehouse: Warehouse, version: DatasetVersion, tokenizer: EpisodeTokenizer, folder: Path) -> ShardSet:
    return build_shards(warehouse, version, tokenizer, folder, rows_per_shard=8)


def test_rows_are_sorted_and_complete(
    warehouse: Warehouse, version: DatasetVersion, tokenizer: EpisodeTokenizer, folder: Path
) -> None:
    seen: list[tuple[int, int]] = []
    made = build_shards(warehouse, version, tokenizer, folder, 8, progress=lambda d, n: seen.append((d, n)))
    rows, manifest = read_shards(folder / made.shard_set_id), read_manifest(folder / made.shard_set_id)
    assert dict(rows.schema) == polars_schema(ShardRow)
    keys = rows.select("segments", "tokens", "context_id").rows()
    assert keys == sorted(keys)
    assert [f.rows for f in manifest.files] == [8, 8, 8, 6]
    assert (made.rows, manifest.rows, manifest.tokens) == (30, 30, rows["tokens"].sum())
    asked = [q["episode_id"] for row in rows["questions"] for q in row]
    assert sorted(asked) == episodes_of(warehouse, version.dataset_id)["episode_id"].to_list()
    assert seen[-1] == (30, 30)
    assert sorted(p.name for p in folder.iterdir()) == [made.shard_set_id]


def test_complete_set_is_left_alone(
    warehouse: Warehouse, version: DatasetVersion, tokenizer: EpisodeTokenizer, shards: ShardSet, folder: Path
) -> None:
    manifest = warehouse.home / shards.place / MANIFEST
    before = manifest.stat().st_mtime_ns
    assert build_shards(warehouse, version, tokenizer, folder, 8) == shards
    assert manifest.stat().st_mtime_ns == before


def test_flipped_byte_is_named_and_force_mends_it(
    warehouse: Warehouse, version: DatasetVersion, tokenizer: EpisodeTokenizer, shards: ShardSet, folder: Path
) -> None:
    shard = warehouse.home / shards.place / "shard-00002.parquet"
    good = shard.read_bytes()
    shard.write_bytes(good[:50] + bytes([good[50] ^ 1]) + good[51:])
    with pytest.raises(EvoError, match=r"shard-00002\.parquet has checksum .*evo shard sharded@1 --force"):
        read_shards(warehouse.home / shards.place, version.label)
    with pytest.raises(EvoError, match="shard-00002"):
        build_shards(warehouse, version, tokenizer, folder, 8)
    assert build_shards(warehouse, version, tokenizer, folder, 8, force=True) == shards
    assert shard.read_bytes() == good
    shard.unlink()
    with pytest.raises(EvoError, match=r"shard-00002\.parquet is missing"):
        read_shards(warehouse.home / shards.place)


def test_no_manifest_means_it_never_happened(
    warehouse: Warehouse, version: DatasetVersion, tokenizer: EpisodeTokenizer, shards: ShardSet, folder: Path
) -> None:
    path = warehouse.home / shards.place
    (path / MANIFEST).unlink()
    (path / "shard-00000.parquet").write_bytes(b"half")
    with pytest.raises(EvoError, match=r"manifest\.json is missing"):
        read_shards(path)
    assert build_shards(warehouse, version, tokenizer, folder, 8) == shards
    assert len(read_shards(path)) == 30


def test_a_kill_while_tokenising_leaves_no_set(
    warehouse: Warehouse, version: DatasetVersion, tokenizer: EpisodeTokenizer, folder: Path
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_shards(warehouse, version, tokenizer, folder, 7, progress=stop)
    assert not list(folder.iterdir())

"""A copied home deletes nothing in a root that it shares with the original, until it is told that it owns it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import duckdb_extensions
import pytest

from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.backend import CATALOG_URL, DATA_URL
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, members_digest, publish, resolve
from evoembedding.warehouse.upkeep.orphans import orphans, remove
from evoembedding.warehouse.upkeep.retention import expire
from tests.warehouse.world import make_partition


def make(home: Path) -> str:
    """A warehouse with one version; the version's digest."""
    with Warehouse.open(home) as warehouse:
        warehouse.append_all(make_partition(0, 6))
        return publish(warehouse, "d", "{}", None, EpisodeFilter()).digest


def digest(home: Path) -> str:
    with Warehouse.open(home) as warehouse:
        return members_digest(warehouse, resolve(warehouse, "d@1").dataset_id)[0]


def retire(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        expire(warehouse, ["d@1"], force=True, forget_past=True, dry=False)


@pytest.mark.parametrize("shared", [(DATA_URL,), (CATALOG_URL,)], ids=["data", "catalog"])
def test_a_copy_deletes_nothing_of_what_it_shares_until_it_takes_over(
    tmp_path: Path,
    served: Callable[[], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    shared: tuple[str, ...],
) -> None:
    for name, value in served().items():
        if name in shared:
            monkeypatch.setenv(name, value)
    home, copy = tmp_path / "home", tmp_path / "copy"
    published = make(home)
    shutil.copytree(home, copy)
    with pytest.raises(EvoError, match=r"one is a copy, or was moved; nothing was removed.*evo doctor --take-over"):
        retire(copy)
    if DATA_URL in shared:
        with Warehouse.open(home) as warehouse:  # what a copy's catalog does not know looks left behind to it
            warehouse.append_all(make_partition(6, 9))
        with Warehouse.open(copy) as warehouse:
            assert any(orphan.in_lake for orphan in orphans(warehouse, copy, -1))
            with pytest.raises(EvoError, match="this one is a copy"):
                remove(warehouse, copy, -1)
    assert digest(home) == published
    with Warehouse.open(copy) as warehouse:
        warehouse.take_over()
    with pytest.raises(EvoError, match="this one is a copy, or was moved"):
        retire(home)
    retire(copy)


def test_several_machines_own_what_a_catalog_and_data_on_servers_are(
    tmp_path: Path, served: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in served().items():
        monkeypatch.setenv(name, value)
    published = make(tmp_path / "one")
    assert digest(tmp_path / "two") == published
    retire(tmp_path / "two")


def plain(catalog: Path) -> duckdb.DuckDBPyConnection:
    """DuckDB as anyone has it, attached with nothing but the catalog's name."""
    con = duckdb.connect()
    for extension in ("ducklake", "sqlite_scanner"):
        duckdb_extensions.import_extension(extension, con=con)
        con.load_extension(extension)
    con.execute(f"ATTACH 'ducklake:sqlite:{catalog}' AS lake (READ_ONLY)")
    return con


@pytest.mark.parametrize("old", [False, True], ids=["made now", "of an older version"])
def test_a_plain_attach_of_a_copy_never_reads_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    make(home)
    if old:  # which kept the path that it was made at
        with Warehouse.open(home) as warehouse:
            set_path = "UPDATE __ducklake_metadata_lake.ducklake_metadata SET value = ? WHERE key = 'data_path'"
            warehouse.query(set_path, (f"{home}/warehouse/data/",))
    shutil.copytree(home, copy)
    if old:
        Warehouse.open(copy).close()
    with pytest.raises(duckdb.IOException, match="data/main/episodes"):
        plain(copy / "warehouse" / "catalog.sqlite").execute("SELECT count(*) FROM lake.episodes WHERE split <> ''")
    shutil.rmtree(home)
    monkeypatch.chdir(copy / "warehouse")
    with plain(Path("catalog.sqlite")) as con:
        assert con.execute("SELECT count(*) FROM lake.episodes WHERE split <> ''").fetchall() == [(6,)]

"""A state folder on a disk that cannot be written: what reads works, what writes says so, and nothing is changed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evoembedding.flows.commands.doctor import WEIGHTS
from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.tags import set_tag
from evoembedding.warehouse.datasets.versions import EpisodeFilter, list_versions, publish
from evoembedding.warehouse.ledger import SqliteLedger
from evoembedding.warehouse.shards.shard_sets import build_shards
from evoembedding.warehouse.upkeep.doctor import examine
from tests.records import teacher_call
from tests.reliability.disks import read_only
from tests.reliability.test_damage import asked
from tests.warehouse.world import WordTokenizer, make_documents, make_partition
from tests.warm import run_each

READING = [
    ("dataset", "list"),
    ("dataset", "show", "d@1"),
    ("dataset", "funnel"),
    ("dataset", "diff", "d@1", "d@2"),
    ("trace", "d@1"),
    ("trace", "d@1", "--as-of", "d@2"),
    ("impact", "doc-0001"),
    ("doctor", "--deep"),
    ("teacher", "ledger"),
    ("plan", "smallest"),
    ("lineage", "events"),
]
WRITING = [
    ("dataset", "tag", "d@1", "stable"),
    ("impact", "doc-0001", "--withdraw"),
    ("shard", "d@2", "--recipe", "smallest"),
    ("synthesize", "smallest"),
    ("train", "d@1", "--recipe", "smallest"),
    ("report", "d@1"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """d@1 with shards, d@2, and an answered call; then read-only."""
    folder: Path = tmp_path_factory.mktemp("home")
    with Warehouse.open(folder) as warehouse:
        warehouse.append_all({"documents": make_documents(10), **make_partition(0, 10)})
        build_shards(warehouse, version(warehouse), WordTokenizer(), folder / "shards")
        warehouse.append_all(make_partition(10, 16))
        version(warehouse)
    ledger = SqliteLedger.open(folder)
    ledger.record(teacher_call(asked(0).call_id, "large"), asked(0))
    ledger.close()
    with read_only(folder):
        yield folder


def version(warehouse: Warehouse) -> DatasetVersion:
    return publish(warehouse, "d", "{}", "c", EpisodeFilter())


def everything(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_a_warehouse_is_read_and_refuses_to_be_written(home: Path) -> None:
    before = everything(home)
    with Warehouse.open(home) as warehouse:
        assert [v.label for v in list_versions(warehouse)] == ["d@1", "d@2"]
        assert warehouse.query("SELECT count(*) FROM episodes").item() == 16
        snapshot = list_versions(warehouse)[0].snapshot
        for write in (
            lambda: set_tag(warehouse, "d@1", "stable"),
            lambda: warehouse.append("documents", make_documents(20)),
        ):
            with pytest.raises(EvoError, match=r"Read-only file system.*make its folder writable"):
                write()
    with Warehouse.open(home, at=snapshot) as warehouse:
        assert warehouse.query("SELECT count(*) FROM episodes").item() == 10
    ledger = SqliteLedger.open(home)
    assert ledger.find(asked(0).call_id) is not None
    with pytest.raises(EvoError, match="Read-only file system"):
        ledger.record(teacher_call(asked(1).call_id, "large"), asked(1))
    ledger.close()
    assert not [finding.says for finding in examine(home, WEIGHTS, deep=True) if finding.kind == "damaged"]
    assert everything(home) == before


def test_what_a_log_holds_is_read_too(tmp_path: Path) -> None:
    """A process that was killed has left its last rows in SQLite's log, which a read-only disk cannot take in."""
    script = f"""
import os
from tests.warehouse.world import make_documents
from evoembedding.warehouse.catalog import Warehouse
from pathlib import Path
warehouse = Warehouse.open(Path({str(tmp_path)!r}))
warehouse.append("documents", make_documents(7))
os._exit(0)
"""
    Warehouse.open(tmp_path).close()
    beside = sqlite3.connect(tmp_path / "warehouse" / "catalog.sqlite")
    beside.execute("BEGIN")
    beside.execute("SELECT * FROM ducklake_snapshot").fetchall()  # as long as somebody reads, the log stays
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "warehouse" / "catalog.sqlite-wal").stat().st_size
    with read_only(tmp_path), Warehouse.open(tmp_path) as warehouse:
        assert warehouse.query("SELECT count(*) FROM documents").item() == 7
    beside.close()


def test_a_home_of_older_code_lacks_tables_and_is_well(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        for table in ("registered_models", "gate_rules", "expectations", "document_sources", "withdrawals"):
            warehouse.transaction(lambda con, table=table: con.execute(f"DROP TABLE lake.{table}"))
    with read_only(tmp_path):
        assert list(examine(tmp_path, WEIGHTS, deep=True)) == []


@pytest.mark.slow
def test_commands(home: Path, tmp_path: Path) -> None:
    before = everything(home)
    report = ("report", "d@1", "--output", str(tmp_path / "report.html"))
    export = ("dataset", "export", "d@1", str(tmp_path / "exported"))
    reading, writing = [*READING, report, export], WRITING
    done = run_each([*reading, *writing], {**os.environ, "EVO_HOME": str(home), "COLUMNS": "300"})
    for words, (code, _, err) in zip(reading, done, strict=False):
        assert (code, "Traceback" in err) == (0, False), (words, err)
    for words, (code, _, err) in zip(writing, done[len(reading) :], strict=True):
        told = [line for line in err.splitlines() if line.startswith("evo: ")]
        assert (code, len(told)) == (1, 1), (words, err)
        assert "Traceback" not in err
        assert "cannot be written" in told[0] or "Read-only file system" in told[0], words
    assert everything(home) == before

"""Appends: idempotent, whole, and safe from several processes; and what a damaged catalog says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from evoembedding.schemas.arrow import polars_schema, to_frame
from evoembedding.schemas.episode import Context, Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.tables import TABLES
from tests.warehouse.world import make_partition

WRITER = """
import sys
from pathlib import Path
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import Failure
from evoembedding.warehouse.catalog import Warehouse
home, offset = Path(sys.argv[1]), int(sys.argv[2])
with Warehouse.open(home) as warehouse:
    for batch in range(5):
        ids = range(offset + batch * 20, offset + batch * 20 + 40)
        rows = [Failure(failure_id=f"f{i}", stage="s", item=str(i), reason="r", payload="", attempts=1) for i in ids]
        warehouse.append("failures", to_frame(Failure, rows))
"""


def test_few_rows_come_back_as_they_went(tmp_path: Path) -> None:
    texts = ("}", "a } b", "{'x': [", "'", '"', "\\'", ",", "NULL", "", "\n", "\x1f", "😀")
    one = Context(
        context_id="ctx-1",
        kind="dialogue",
        generator="",
        split="train",
        seed=0,
        document_ids=texts,
        segments=tuple(Segment(user=text, assistant=f"x{text}") for text in texts),
        fingerprint="",
    )
    with Warehouse.open(tmp_path) as warehouse:
        for single in [one, *(one.model_copy(update={"context_id": t, "segments": (Segment(user=t),)}) for t in texts)]:
            warehouse.append("contexts", to_frame(Context, [single]))
            stored = warehouse.query("SELECT * FROM lake.contexts WHERE context_id = ?", (single.context_id,))
            assert Context(**stored.row(0, named=True)) == single


def test_what_memory_cannot_hold_is_spilled(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.query("SET memory_limit = '150MB'")
        rows = warehouse.query(
            "SELECT count(*) FROM (SELECT DISTINCT repeat(md5(i::VARCHAR), 4) FROM range(1000000) t(i))"
        )
    assert rows.item() == 1_000_000
    assert list(tmp_path.rglob("spill*")) == []


def test_append_twice_adds_once(warehouse: Warehouse) -> None:
    before = warehouse.snapshot()
    assert set(warehouse.append_all(make_partition(0, 30)).values()) == {0}
    counts = warehouse.append_all(make_partition(28, 32))
    assert counts == {"contexts": 2, "questions": 4, "evidence": 4, "verdicts": 4, "episodes": 2}
    assert warehouse.snapshot() > before
    frame = make_partition(40, 41)["episodes"]
    assert warehouse.append("episodes", pl.concat([frame, frame])) == 1


def test_rows_come_back_as_they_went_in(warehouse: Warehouse) -> None:
    sent = make_partition(0, 30)["contexts"]
    got = warehouse.query("SELECT * FROM contexts WHERE seed < ? ORDER BY context_id", (30,))
    assert got.to_dicts() == sent.to_dicts()


def test_every_table_has_its_record_s_columns(warehouse: Warehouse) -> None:
    for name, table in TABLES.items():
        assert dict(warehouse.query(f"SELECT * FROM lake.{name} LIMIT 0").schema) == polars_schema(table.record)


def test_a_failing_transaction_leaves_nothing(warehouse: Warehouse) -> None:
    def work(con: object) -> None:
        con.execute("INSERT INTO lake.dataset_members (dataset_id, episode_id) VALUES ('ds-x', 'ep-x')")  # type: ignore[attr-defined]
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        warehouse.transaction(work)
    assert warehouse.query("SELECT * FROM dataset_members WHERE dataset_id = ?", ("ds-x",)).is_empty()
    assert warehouse.append("episodes", make_partition(50, 51)["episodes"]) == 1


def test_wrong_columns_and_tables_are_refused(warehouse: Warehouse) -> None:
    with pytest.raises(EvoError, match="nonsense"):
        warehouse.append("nonsense", pl.DataFrame())
    with pytest.raises(EvoError, match="episode_id"):
        warehouse.append("dataset_members", pl.DataFrame({"dataset_id": ["a"]}))


def test_three_processes_append_every_row_once(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), offset], stderr=subprocess.PIPE)
        for offset in ("0", "0", "60")
    ]
    for writer in writers:
        assert writer.communicate(timeout=100)[1] == b""
        assert writer.returncode == 0
    with Warehouse.open(tmp_path) as warehouse:
        ids = warehouse.query("SELECT failure_id FROM failures")["failure_id"].to_list()
    assert sorted(ids) == sorted(f"f{i}" for i in range(180))


@pytest.mark.parametrize("damage", ["cut", "junk"])
def test_damaged_catalog_is_one_sentence(tmp_path: Path, damage: str) -> None:
    home = tmp_path / "it's a home"
    Warehouse.open(home).close()
    catalog = home / "warehouse" / "catalog.sqlite"
    whole = catalog.read_bytes()
    catalog.write_bytes(whole[: len(whole) // 3] if damage == "cut" else b"junk" * 1000)
    with pytest.raises(EvoError, match="restore the folder") as caught:
        Warehouse.open(home).query("SELECT count(*) FROM episodes")
    assert "\n" not in str(caught.value)


LONG = "SELECT sum(hash(i)) FROM range(100000000000) t(i)"


@pytest.mark.parametrize(
    "work",
    [lambda w: w.query(LONG), lambda w: w.transaction(lambda con: con.execute(LONG).fetchall())],
    ids=["query", "transaction"],
)
def test_ctrl_c_ends_a_long_query_and_the_warehouse_is_usable(
    tmp_path: Path, work: Callable[[Warehouse], object]
) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            work(warehouse)
        assert warehouse.query("SELECT 1").item() == 1

"""Warehouses of an older schema come to that of this code whole, once, and keep what they hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from evoembedding.schemas.arrow import polars_schema
from evoembedding.schemas.dataset import StageFingerprint
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.ids import canonical
from evoembedding.warehouse.backend import CATALOG_URL, DATA_URL, Backend
from evoembedding.warehouse.catalog import SETTINGS, Warehouse
from evoembedding.warehouse.datasets import outcomes
from evoembedding.warehouse.datasets.fingerprints import Fingerprints
from evoembedding.warehouse.datasets.versions import as_of, list_versions, members_digest, resolve, snapshot_of
from evoembedding.warehouse.lineage.trace import trace
from evoembedding.warehouse.tables import SCHEMA, TABLES
from evoembedding.warehouse.upkeep.doctor import examine
from evoembedding.warehouse.upkeep.retention import expire

Rows = dict[str, list[dict[str, Any]]]
SCRIPT = Path(__file__).with_name("schema_1.sql")
MADE = datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC)
OPENS = "import sys; from pathlib import Path; from evoembedding import Warehouse; Warehouse.open(Path(sys.argv[1]))"
KILLED = """
import os, signal, sys
from pathlib import Path
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.upkeep.doctor import examine
from evoembedding.warehouse.migration import from_1
where, copy = sys.argv[2], from_1._copy
def killing(name, there):
    if name == where:
        os.kill(os.getpid(), signal.SIGKILL)
    return copy(name, there)
from_1._copy = killing
if where == "commit":
    from evoembedding.warehouse.migration import schema
    schema.now = lambda: os.kill(os.getpid(), signal.SIGKILL)
Warehouse.open(Path(sys.argv[1]))
"""


def connected(home: Path) -> tuple[duckdb.DuckDBPyConnection, Backend]:
    con, backend = duckdb.connect(config=SETTINGS), Backend.of(home / "warehouse")
    backend.attach(con)
    con.execute("USE lake")
    return con, backend


def make_old(home: Path) -> Rows:
    """A warehouse of schema 1; its rows."""
    (home / "warehouse" / "data").mkdir(parents=True)
    con, _ = connected(home)
    with con:
        for statement in SCRIPT.read_text().splitlines():
            con.execute(statement)
        tables = [name for (name,) in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {name: con.execute(f"SELECT * FROM lake.{name} ORDER BY ALL").pl().to_dicts() for name in tables}


def rows_of(warehouse: Warehouse) -> Rows:
    return {name: warehouse.query(f"SELECT * FROM lake.{name} ORDER BY ALL").to_dicts() for name in TABLES}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Warehouse, Rows]]:
    """A migrated warehouse, and the rows that it had before."""
    home: Path = tmp_path_factory.mktemp("home")
    before = make_old(home)
    with Warehouse.open(home) as warehouse:
        yield warehouse, before


def test_every_row_is_a_record_and_keeps_what_it_held(world: tuple[Warehouse, Rows]) -> None:
    warehouse, before = world
    after = rows_of(warehouse)
    assert len(before) == 20
    assert set(before) < set(TABLES)
    changed = {"verdicts": {"check"}, "failures": {"stage", "item"}, "fingerprints": {"components"}}
    changed |= {"shard_sets": {"path"}, "models": {"path"}}
    for name, rows in before.items():
        record = TABLES[name].record
        assert rows, name
        assert len(after[name]) == len(rows)
        for row in after[name]:
            assert record(**row).model_dump().keys() == row.keys()
        same = (set(rows[0]) & set(polars_schema(record))) - {"created_at"} - changed.get(name, set())
        assert same >= set(rows[0]) - {"created_at"} - changed.get(name, set())
        kept = [
            sorted(json.dumps({c: row[c] or None for c in same}, sort_keys=True) for row in of)
            for of in (rows, after[name])
        ]
        assert kept[0] == kept[1], name
    assert {row["created_at"] for name in ("imports", "shard_sets") for row in after[name]} == {MADE}
    published = {row["name"]: datetime.fromisoformat(row["created_at"]) for row in before["dataset_versions"]}
    assert set(published.values()) <= {row["created_at"] for row in after["dataset_versions"]}


def test_keys_that_were_parts_of_texts_are_columns(world: tuple[Warehouse, Rows]) -> None:
    warehouse, before = world
    after = rows_of(warehouse)
    failed = {(f["stage"], f["question_type"], f["retryable"], f["item"].partition(":")[0]) for f in after["failures"]}
    assert failed == {
        ("ingest", "", False, "notes/bad.jsonl"),
        ("import", "", False, "a.jsonl"),
        ("cloze", "", False, next(f["item"] for f in before["failures"] if f["stage"].startswith("cloze"))),
        ("contexts", "", False, "web"),
        ("evidence", "first", True, "dialogue"),
        ("evidence", "first", True, "memory"),
    }
    stages = {f"{f['stage']}:{f['fingerprint']}".rstrip(":") for f in after["failures"]}
    assert stages == {f["stage"] for f in before["failures"]}
    assert {v["check_name"] for v in after["verdicts"]} == {v["check"] for v in before["verdicts"]}
    contexts = {row["context_id"]: row for row in after["contexts"]}
    for outcome in after["outcomes"]:
        kind, _, source = outcome["item"].partition(":")
        assert bool(outcome["context_id"]) == bool(outcome["contexts"])
        if outcome["contexts"]:
            context = contexts[outcome["context_id"]]
            assert context["kind"] == kind == outcome["kind"]
            named = context["document_ids"][0] if context["document_ids"] else str(context["seed"])
            assert source.rpartition(":")[2] == named


def test_paths_are_places_and_what_was_elsewhere_is_told(world: tuple[Warehouse, Rows]) -> None:
    warehouse, _ = world
    after = rows_of(warehouse)
    assert [row["place"] for row in after["shard_sets"]] == ["shards/shards-1"]
    assert sorted(row["place"] for row in after["models"]) == ["/elsewhere/model", "runs/run-1/model"]
    told = [finding.says for finding in examine(warehouse.home, "model.safetensors") if finding.name == "model-2"]
    assert len(told) == 1
    assert "'/elsewhere/model' leads out of" in told[0]


def test_what_reads_keys_reads_the_old_rows(world: tuple[Warehouse, Rows]) -> None:
    warehouse, before = world
    last = {row["fingerprint"] for row in before["outcomes"]}
    assert {item.partition(":")[0] for item in outcomes.failed(warehouse, last)} == {"dialogue", "memory"}
    assert len(outcomes.done(warehouse, last)) == len({row["item"] for row in before["outcomes"]})
    known = Fingerprints(warehouse)
    assert {len(known.line(mark)) for mark in last} == {4}
    for row in warehouse.query("SELECT * FROM lake.fingerprints").iter_rows(named=True):
        stage = StageFingerprint(**row)
        parsed = json.loads(stage.components)
        assert "stage before" not in parsed
        assert canonical(parsed).decode() == stage.components


def test_versions_are_what_they_were_and_their_past_is_told_or_says_why_not(world: tuple[Warehouse, Rows]) -> None:
    warehouse, _ = world
    for version in list_versions(warehouse):
        assert members_digest(warehouse, version.dataset_id) == (version.digest, version.episodes)
        assert snapshot_of(warehouse, version) == version.snapshot + 1
        with Warehouse.open(warehouse.home, at=snapshot_of(warehouse, version)) as then:
            held = list_versions(then)
            assert held[-1] == version
            assert len(held) == version.number
        with as_of(warehouse.home, version.label) as then:
            assert members_digest(then, version.dataset_id) == (version.digest, version.episodes)
        with (
            pytest.raises(EvoError, match="older version of this code, whose tables cannot answer this"),
            as_of(warehouse.home, version.label) as then,
        ):
            trace(then, version.label)
    assert trace(warehouse, "model-1").id == "model-1"


def test_it_is_done_once(world: tuple[Warehouse, Rows]) -> None:
    warehouse, _ = world
    snapshot, rows = warehouse.snapshot(), rows_of(warehouse)
    with Warehouse.open(warehouse.home) as again:
        assert (again.snapshot(), rows_of(again)) == (snapshot, rows)
    assert [row["version"] for row in rows["schema_versions"]] == [SCHEMA]
    tables = warehouse.query("SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'")["table_name"]
    assert set(tables) == set(TABLES)


@pytest.mark.parametrize("where", ["documents", "verdicts", "teacher_calls", "commit"])
def test_killed_in_the_middle_it_has_done_nothing_and_is_done_again(
    tmp_path: Path, world: tuple[Warehouse, Rows], where: str
) -> None:
    before = make_old(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), where], env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGKILL
    con, _ = connected(tmp_path)
    with con:
        assert con.execute('SELECT count("check") FROM lake.verdicts').fetchone() == (len(before["verdicts"]),)
    with Warehouse.open(tmp_path) as warehouse:
        ours, theirs = rows_of(warehouse), rows_of(world[0])
        assert {n: r for n, r in ours.items() if n != "schema_versions"} == {
            n: r for n, r in theirs.items() if n != "schema_versions"
        }


def test_several_processes_open_an_old_warehouse_at_once(tmp_path: Path) -> None:
    make_old(tmp_path)
    ours = [subprocess.Popen([sys.executable, "-c", OPENS, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in ours] == [0, 0, 0]
    with Warehouse.open(tmp_path) as warehouse:
        assert warehouse.query("SELECT version FROM lake.schema_versions")["version"].to_list() == [SCHEMA]


def test_on_servers_as_in_a_folder(
    tmp_path: Path, served: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch, world: tuple[Warehouse, Rows]
) -> None:
    for name, value in served().items():
        monkeypatch.setenv(name, value)
    make_old(tmp_path)
    with Warehouse.open(tmp_path) as warehouse:
        ours, theirs = rows_of(warehouse), rows_of(world[0])
        assert {n: r for n, r in ours.items() if n != "schema_versions"} == {
            n: r for n, r in theirs.items() if n != "schema_versions"
        }
    monkeypatch.delenv(CATALOG_URL)
    monkeypatch.delenv(DATA_URL)


def test_a_catalog_that_was_half_made_is_made_whole(tmp_path: Path) -> None:
    (tmp_path / "warehouse" / "data").mkdir(parents=True)
    con, _ = connected(tmp_path)
    with con:
        con.execute('CREATE TABLE lake.verdicts (question_id VARCHAR, "check" VARCHAR, passed BOOLEAN, reason VARCHAR)')
        con.execute("INSERT INTO lake.verdicts VALUES ('q-1', 'all', true, '')")
    with Warehouse.open(tmp_path) as warehouse:
        row = warehouse.query("SELECT * FROM lake.verdicts").row(0, named=True)
        assert (row["check_name"], row["calls"], row["fingerprint"], row["score"]) == ("all", [], None, None)


def test_a_newer_schema_is_refused_and_an_older_one_is_not_read_as_it_is(tmp_path: Path) -> None:
    make_old(tmp_path)
    with pytest.raises(
        EvoError, match=r"has schema 1, and this code reads 2; nothing was read.*'evo doctor' brings it"
    ):
        Warehouse.open(tmp_path, read_only=True)
    with Warehouse.open(tmp_path) as warehouse:
        newer = f"INSERT INTO lake.schema_versions BY NAME SELECT {SCHEMA + 1} AS version, now() AS created_at"
        warehouse.transaction(lambda con: con.execute(newer))
    for read_only in (False, True):
        with pytest.raises(EvoError, match=f"has schema {SCHEMA + 1}, and this code knows {SCHEMA}; nothing was read"):
            Warehouse.open(tmp_path, read_only=read_only)


def test_what_no_version_needs_goes_from_a_migrated_warehouse_too(tmp_path: Path) -> None:
    make_old(tmp_path)
    with Warehouse.open(tmp_path) as warehouse:
        there = warehouse.query("SELECT count(*) FROM lake.outcomes").item()
        done = expire(warehouse, ["old@2", "old@3"], force=True, dry=False)
        # The items of the versions that go can be made again; one waits for a publish, one has no context.
        assert done.rows["outcomes"] == there - 2
        assert resolve(warehouse, "old@1").episodes == 4
        assert members_digest(warehouse, resolve(warehouse, "old@1").dataset_id)[1] == 4


def test_no_column_is_a_reserved_word() -> None:
    with duckdb.connect() as con:
        found = con.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'").pl()
    reserved = set(found["keyword_name"])
    columns = {name for table in TABLES.values() for name in inner_names(polars_schema(table.record))}
    assert {"check", "all"} <= reserved
    assert not columns & reserved


def inner_names(schema: dict[str, pl.DataType]) -> Iterator[str]:
    """The columns of a schema, and the fields of structs in them."""
    for name, kind in schema.items():
        yield name
        inner: Any = kind
        while isinstance(inner, pl.List):
            inner = inner.inner
        if isinstance(inner, pl.Struct):
            yield from inner_names({field.name: field.dtype for field in inner.fields})  # type: ignore[misc]

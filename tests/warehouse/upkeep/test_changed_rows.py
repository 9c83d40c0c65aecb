"""Every value of every stored row is under a digest: a changed one is found, and what was not changed is not."""

from __future__ import annotations

import random
import shutil
import struct
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.arrow import polars_schema, to_frame
from evoembedding.schemas.configs import ClozeConfig, SimulatorConfig
from evoembedding.schemas.dataset import (
    Acceptance,
    DatasetVersion,
    DocumentSource,
    Evaluation,
    ExpectationRow,
    ModelRecord,
)
from evoembedding.schemas.episode import Document
from evoembedding.schemas.retraining import RetrainDecision
from evoembedding.synth.cloze import cloze
from evoembedding.synth.documents import document
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.exchange.export import export_version
from evoembedding.warehouse.exchange.import_dataset import import_dataset
from evoembedding.warehouse.registry.decisions import keep_decision
from evoembedding.warehouse.registry.gates import keep
from evoembedding.warehouse.registry.versions import register
from evoembedding.warehouse.row_digests import changed
from evoembedding.warehouse.tables import DIGEST, TABLES, columns
from evoembedding.warehouse.upkeep.doctor import examine
from evoembedding.warehouse.upkeep.retention import expire
from tests.records import NOW, expectation_row, gate_row
from tests.soak import count
from tests.warehouse.migration.test_migration import make_old

SEEDS = (1, 2, 3)


def fill(home: Path) -> None:
    """A row or more in every table: some migrated, some stored since."""
    make_old(home)
    with Warehouse.open(home) as warehouse:
        commit_drafts(warehouse, simulate(SimulatorConfig(contexts=12, seed=7)))
        held = warehouse.query("SELECT document_id FROM lake.documents ORDER BY ALL")["document_id"][0]
        seen = DocumentSource(source="notes", file="a.txt", source_id="a.txt", document_id=held, sequence=1,
                              state="present", created_at=NOW)  # fmt: skip
        warehouse.append("document_sources", to_frame(DocumentSource, [seen]))
        model = ModelRecord(**warehouse.query("SELECT * FROM lake.models ORDER BY ALL").row(0, named=True))
        (home / model.place).mkdir(parents=True)
        register(warehouse, model, "named", "me")
        keep(warehouse, [gate_row("gate-1", model.model_id)])
        judged = expectation_row(warehouse.query("SELECT min(dataset_id) FROM lake.dataset_versions").item())
        warehouse.append("expectations", to_frame(ExpectationRow, [judged]))
        accepted = Acceptance(dataset_id=judged.dataset_id, sequence=1, reason="", accepted_by="me", created_at=NOW)
        warehouse.append("acceptances", to_frame(Acceptance, [accepted]))
        keep_decision(warehouse, decision(model.model_id, judged.dataset_id))
        assert all(warehouse.query(f"SELECT 1 FROM lake.{name} LIMIT 1").height for name in TABLES)
        publish(warehouse, "since", "{}", None, EpisodeFilter())


def decision(model_id: str, dataset_id: str) -> RetrainDecision:
    return RetrainDecision(
        champion_id=model_id, dataset_id=dataset_id, episodes=1, new_documents=1, new_episodes=1, withdrawn_episodes=0,
        age_days=1.0, score=None, decision_id="decision-1", sequence=1, name="named", recipe="small", policy="{}",
        situation="", decision="keep", reasons=("nothing is new",), decided_by="me", flow_run_id="", created_at=NOW,
    )  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home: Path = tmp_path_factory.mktemp("filled")
    fill(home)
    return home


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    """A copy of the filled one."""
    shutil.copytree(filled, tmp_path / "home")
    return tmp_path / "home"


def other(value: Any, kind: pl.DataType, rng: random.Random) -> Any:
    """The value with one of its bytes changed; of nothing, something."""
    if isinstance(kind, pl.List):
        inner: Any = kind.inner
        if not value:
            return [other(None, inner, rng)]
        at = rng.randrange(len(value))
        return [*value[:at], other(value[at], inner, rng), *value[at + 1 :]]
    if isinstance(kind, pl.Struct):
        field = rng.choice(kind.fields)
        said = value or {one.name: None for one in kind.fields}
        return {**said, field.name: other(said[field.name], field.dtype, rng)}  # type: ignore[arg-type]
    if isinstance(kind, pl.String):
        if not value:
            return rng.choice(" 0x")
        at = rng.randrange(len(value))
        return value[:at] + (chr(ord(value[at]) ^ 1) if ord(value[at]) > 1 else "\t") + value[at + 1 :]
    if isinstance(kind, pl.Boolean):
        return not value
    if isinstance(kind, pl.Float64):
        (bits,) = struct.unpack("<Q", struct.pack("<d", value or 0.0))
        return struct.unpack("<d", struct.pack("<Q", bits ^ (1 << rng.randrange(63))))[0]
    if isinstance(kind, pl.Datetime):
        assert isinstance(value, datetime)
        return value + timedelta(microseconds=(1 << rng.randrange(40)) * rng.choice((1, -1)))
    return (value or 0) ^ (1 << rng.randrange(62))


def change(warehouse: Warehouse, rng: random.Random, most: int) -> Counter[str]:
    """Change a value in each of that many rows, as a flipped bit does: the rest stays. How many rows, by table."""
    rows = [
        (name, row)
        for name in TABLES
        for row in warehouse.query(f"SELECT rowid FROM lake.{name} ORDER BY rowid")["rowid"]
    ]
    tables = Counter(name for name, _ in rows)
    # Small tables as often as large ones: of what is weightier, there are few rows.
    chosen = sorted(rows, key=lambda one: rng.random() ** (tables[one[0]] ** 0.5 / 10))[-most:]

    def work(con: Any) -> None:
        for name, row in chosen:
            kinds = {**polars_schema(TABLES[name].record), DIGEST: pl.UInt64()}
            column = rng.choice(list(kinds))
            frame = con.execute(f'SELECT "{column}" AS value FROM lake.{name} WHERE rowid = ?', [row]).pl()
            value = other(frame["value"].to_list()[0], kinds[column], rng)
            kind = columns(name)[column]
            con.execute(f'UPDATE lake.{name} SET "{column}" = CAST(? AS {kind}) WHERE rowid = ?', [value, row])

    warehouse.transaction(work)
    return Counter(name for name, _ in chosen)


def found(warehouse: Warehouse) -> Counter[str]:
    return Counter({name: n for name in TABLES if (n := warehouse.query(changed(name, 5)).row(0)[0])})


@pytest.mark.parametrize("seed", SEEDS)
def test_every_changed_value_is_found(home: Path, seed: int) -> None:
    healthy = {(f.what, f.name) for f in examine(home, "weights", deep=True)}
    assert "rows" not in {what for what, _ in healthy}
    with Warehouse.open(home) as warehouse:
        made = change(warehouse, random.Random(seed), count(30, 150))
        assert made.total() == count(30, 150)
        assert found(warehouse) == made
    findings = list(examine(home, "weights", deep=True))
    if "schema_versions" in made and findings[0].what == "catalog":  # of a schema that nobody knows: it is not opened
        assert "and this code knows" in findings[0].says
    else:
        assert {f.name for f in findings if "do not give their digest" in f.says} == set(made)


@pytest.mark.slow
def test_on_servers_as_in_a_folder(
    tmp_path: Path, served: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in served().items():
        monkeypatch.setenv(name, value)
    fill(tmp_path)
    with Warehouse.open(tmp_path) as warehouse:
        assert not found(warehouse)
        made = change(warehouse, random.Random(4), 30)
        assert found(warehouse) == made


def test_files_written_again_and_rows_that_went_leave_the_others_as_they_were(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        expire(warehouse, ["old@2", "old@3"], force=True, forget_past=True, dry=False)
        warehouse.transaction(lambda con: con.execute("CALL ducklake_merge_adjacent_files('lake')"))
        assert not found(warehouse)
    assert "rows" not in {f.what for f in examine(home, "weights", deep=True)}


def test_nothing_is_wrong_with_an_imported_version(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path / "here") as warehouse:
        version = from_a_document(warehouse)
        export_version(warehouse, version, tmp_path / "out")
    with Warehouse.open(tmp_path / "there") as warehouse:
        import_dataset(warehouse, "ours", str(tmp_path / "out"), None)
        assert warehouse.query("SELECT count(*) FROM lake.documents WHERE text = ''").item() > 0
    assert list(examine(tmp_path / "there", "weights", deep=True)) == []


def from_a_document(warehouse: Warehouse) -> DatasetVersion:
    text = " ".join(
        f"The river {name} was mapped by Ada Lovelace in 18{n:02}."
        for n, name in enumerate(["Ebro", "Douro", "Tejo", "Minho", "Lima"] * 8, 10)
    )
    one = document("rivers.txt", text)
    warehouse.append("documents", to_frame(Document, [one]))
    commit_drafts(warehouse, cloze(one, ClozeConfig()))
    return publish(warehouse, "ours", "{}", None, EpisodeFilter())


def test_a_column_that_comes_later_changes_no_older_digest(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `warehouse.tables.missing_columns` adds it: with the record's default."""

    class Later(Evaluation):
        seen_by: str = ""
        tags: tuple[str, ...] = ()
        left_out: int = 0

    monkeypatch.setitem(TABLES, "evaluations", TABLES["evaluations"].__class__(Later, ("evaluation_id",)))
    with Warehouse.open(home) as warehouse:
        assert warehouse.query("SELECT left_out, seen_by FROM lake.evaluations").rows() == [(0, "")]
        assert not found(warehouse)
        warehouse.transaction(lambda con: con.execute("UPDATE lake.evaluations SET left_out = 1"))
        assert found(warehouse) == {"evaluations": 1}


def test_no_query_hands_the_digest_out_with_a_row(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        for name in TABLES:
            rows = warehouse.query(f"SELECT * FROM lake.{name}")
            assert set(rows.columns) == set(polars_schema(TABLES[name].record))
            assert all(DIGEST not in part.columns for part in warehouse.stream(f"SELECT * FROM lake.{name}"))

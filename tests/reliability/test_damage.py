"""Files of the state folder cut off, and with a bit flipped: one sentence, found by doctor, or without any effect."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from evoembedding.flows.commands.doctor import WEIGHTS
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.teacher import Message, Sampling, TeacherRequest
from evoembedding.trainer.training.checkpoints import MARKER, STATE, damaged, newest_state, write_state
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, list_versions, publish
from evoembedding.warehouse.ledger import FILE, SqliteLedger
from evoembedding.warehouse.shards import shard_sets as shards
from evoembedding.warehouse.shards.shard_sets import build_shards, read_shards
from evoembedding.warehouse.upkeep.doctor import examine
from tests.records import teacher_call
from tests.soak import SOAKING, count
from tests.warehouse.world import WordTokenizer, make_documents, make_partition

CUTS = (0.0, 0.5, 0.999)
CALLS = 40


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """d@1 with shards, and d@2."""
    folder: Path = tmp_path_factory.mktemp("home")
    with Warehouse.open(folder) as warehouse:
        warehouse.append_all({"documents": make_documents(10), **make_partition(0, 10)})
        version = publish(warehouse, "d", "{}", "c", EpisodeFilter())
        build_shards(warehouse, version, WordTokenizer(), folder / "shards", rows_per_shard=4)
        warehouse.append_all(make_partition(10, 16))
        publish(warehouse, "d", "{}", "c", EpisodeFilter())
    return folder


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger, and no warehouse."""
    folder: Path = tmp_path_factory.mktemp("paid")
    ledger = SqliteLedger.open(folder)
    for n in range(CALLS):
        request = asked(n)
        call = teacher_call(request.call_id, "large", stage="questions").replace(content=f'{{"answer": "{n} words"}}')
        ledger.record(call, request)
    ledger.close()
    return folder


def asked(n: int) -> TeacherRequest:
    messages = (Message(role="user", content=f"What is {n}?"),)
    return TeacherRequest(model="large", revision="", messages=messages, sampling=Sampling(), answer_schema="{}")


@contextmanager
def changed(path: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """The file with other bytes; then as it was, without what SQLite has laid beside it."""
    good = path.read_bytes()
    path.write_bytes(change(good))
    try:
        yield
    finally:
        path.write_bytes(good)
        for beside in ("-wal", "-shm"):
            path.with_name(path.name + beside).unlink(missing_ok=True)


def flips(path: Path, few: int, full: int, seed: int = 0) -> Iterator[Callable[[bytes], bytes]]:
    """Flips of a bit each, in bytes that are not zero: most of a SQLite file is pages without content."""
    data, chosen = path.read_bytes(), random.Random(f"{path.name} {seed}")
    places = [at for at, byte in enumerate(data) if byte]
    for _ in range(count(few, full)):
        at, bit = chosen.choice(places), 1 << chosen.randrange(8)
        yield lambda good, at=at, bit=bit: good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :]


def cuts() -> list[Callable[[bytes], bytes]]:
    return [lambda good, share=share: good[: int(share * len(good))] for share in CUTS]


def findings(home: Path, deep: bool = True) -> list[str]:
    found = [finding for finding in examine(home, WEIGHTS, deep) if finding.kind == "damaged"]
    assert not any("\n" in finding.says for finding in found)
    return [finding.says for finding in found]


def rows(home: Path) -> list[Any]:
    """All that a warehouse says: every table whole, one asked for by key, and the versions."""
    with Warehouse.open(home) as warehouse:
        tables = ("documents", "contexts", "questions", "evidence", "verdicts", "episodes", "shard_sets")
        said = [warehouse.query(f"SELECT count(*), bit_xor(hash(t)) FROM lake.{t} t").row(0) for t in tables]
        for wanted in ("ep-0003", "ep-0012"):
            said.append(warehouse.query("SELECT * FROM episodes WHERE episode_id = ?", (wanted,)).rows())
            said.append(warehouse.query("SELECT * FROM episodes WHERE episode_id >= ?", (wanted,)).height)
        return [*said, [v.model_dump() for v in list_versions(warehouse)]]


def test_all_is_well(home: Path, paid: Path) -> None:
    assert findings(home) == findings(paid) == []
    assert [call.content for call in calls(paid)] == [f'{{"answer": "{n} words"}}' for n in range(CALLS)]


@pytest.mark.parametrize("kind", ["cut", "flipped"])
def test_the_catalog(kind: str, home: Path) -> None:
    path, good = home / "warehouse" / "catalog.sqlite", rows(home)
    for change in cuts() if kind == "cut" else flips(path, 6, 300):
        with changed(path, change):
            seen, said = findings(home), None
            try:
                said = rows(home)
            except EvoError as error:
                assert "\n" not in str(error)
            assert said == good or seen, "other rows, and nothing was said"
            assert said is not None or seen, "refused, and doctor says that all is well"
    assert findings(home) == []


def calls(home: Path) -> list[Any]:
    ledger = SqliteLedger.open(home)
    try:
        ledger.spent("taught"), ledger.totals(), ledger.pace("taught"), ledger.faults()
        return [call for n in range(CALLS) if (call := ledger.find(asked(n).call_id))]
    finally:
        ledger.close()


@pytest.mark.parametrize(
    ("was", "is_now"),
    [(b"modelsmodels/", b"mocelsmodels/"), (b"evaluation_idvarchar", b"evaluatinn_idvarchar")],
    ids=["table", "column"],
)
def test_a_changed_name_is_not_taken_for_something_new(was: bytes, is_now: bytes, home: Path) -> None:
    """What the catalog lacks is made when it is opened: here that would hide what it holds."""
    path = home / "warehouse" / "catalog.sqlite"
    with changed(path, lambda good: good.replace(was, is_now)):
        with pytest.raises(EvoError, match="that nobody knows: its catalog is damaged; nothing was read or stored"):
            rows(home)
        assert len(findings(home)) == 1
    assert findings(home) == []


def told_of(home: Path) -> list[str]:
    """What doctor would say of the ledger; to open a warehouse each time would take long."""
    try:
        ledger = SqliteLedger.open(home)
    except EvoError as error:
        return [str(error)]
    try:
        return list(ledger.damage(deep=True))
    finally:
        ledger.close()


@pytest.mark.parametrize("kind", ["cut", "flipped"])
def test_the_ledger(kind: str, paid: Path) -> None:
    path, good = paid / FILE, calls(paid)
    for change in cuts()[1:] if kind == "cut" else flips(path, 25, 1000):
        with changed(path, change):
            seen, said = told_of(paid), None
            try:
                said = calls(paid)
            except EvoError as error:
                assert "\n" not in str(error)
                assert "restore the file from a copy" in str(error)
            assert said is None or all(call in good for call in said), "an answer that nobody gave"
            assert said == good or seen
    with changed(path, cuts()[1]):
        assert any("ledger" in says for says in findings(paid))
    assert findings(paid) == []


def test_a_ledger_from_before_its_answers_were_sealed(paid: Path, tmp_path: Path) -> None:
    shutil.copy(paid / FILE, tmp_path / FILE)
    con = sqlite3.connect(tmp_path / FILE)
    for table in ("calls", "faults", "charged"):
        con.execute(f"ALTER TABLE {table} DROP COLUMN seal")
    con.close()
    assert calls(tmp_path) == calls(paid)
    ledger = SqliteLedger.open(tmp_path)
    ledger.record(teacher_call("call-new", "large", stage="questions"), asked(CALLS))
    assert ledger.find("call-new") is not None
    assert list(ledger.damage(deep=True)) == []
    ledger.close()


@pytest.mark.parametrize("name", ["manifest.json", "shard-00001.parquet"])
@pytest.mark.parametrize("kind", ["cut", "flipped"])
def test_shards(name: str, kind: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every changed byte is found before they are trained on, and `--force` writes them again."""
    [folder] = (home / "shards").iterdir()
    path, good = folder / name, read_shards(folder)

    def build(force: bool = False) -> None:
        with Warehouse.open(home) as warehouse:
            build_shards(warehouse, list_versions(warehouse)[0], WordTokenizer(), home / "shards", 4, force)

    doctored = False
    for change in cuts() if kind == "cut" else flips(path, 4, 100):
        with changed(path, change):
            with pytest.raises(EvoError, match=r"--force") as caught:
                build()
            assert "\n" not in str(caught.value)
            assert doctored or findings(home, deep=False)
            doctored = not SOAKING  # it opens a warehouse each time
    path.write_bytes(b"")
    build(force=True)
    monkeypatch.setattr(shards, "ROWS_A_GROUP", 1 + len(kind))  # other bytes, as another version of Polars writes
    build(force=True)
    build()
    assert read_shards(folder).equals(good)
    assert findings(home) == []


@pytest.mark.parametrize("name", [STATE, MARKER, "metrics.jsonl"])
@pytest.mark.parametrize("kind", ["cut", "flipped"])
def test_checkpoints(name: str, kind: str, tmp_path: Path) -> None:
    """A damaged one gives way to the older; where metrics are damaged before both, training says so."""
    run = tmp_path / "runs" / "run-1"
    run.mkdir(parents=True)
    metrics = run / "metrics.jsonl"
    for step in range(1, 5):
        with metrics.open("a") as file:
            file.write(f'{{"step": {step}, "loss": {step / 7}}}\n')
        if step % 2 == 0:
            state = {p: {"a": torch.full((4, 4), float(step))} for p in ("weight", "exp_avg", "exp_avg_sq")}
            write_state(run / "checkpoints", step, state, metrics)
    newest, older = run / "checkpoints" / "step-00000004", run / "checkpoints" / "step-00000002"
    path = metrics if name == "metrics.jsonl" else newest / name
    whole = metrics.read_bytes().index(b'{"step": 3')
    for change in cuts() if kind == "cut" else flips(path, 30, 300):
        spoiled = change(path.read_bytes())
        with changed(path, change):
            told = list(damaged(tmp_path / "runs"))
            assert "step-00000004" in told[-1][0]
            if path == metrics and spoiled[:whole] != metrics_of(2):
                assert len(told) == 2
                with pytest.raises(EvoError, match="to train this run from its start"):
                    newest_state(run / "checkpoints", metrics)
            else:
                assert newest_state(run / "checkpoints", metrics)[0] == older
    assert list(damaged(tmp_path / "runs")) == []
    assert newest_state(run / "checkpoints", metrics) == (newest, [])


def metrics_of(steps: int) -> bytes:
    return b"".join(f'{{"step": {step}, "loss": {step / 7}}}\n'.encode() for step in range(1, steps + 1))

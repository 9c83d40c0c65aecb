"""Backups are of one point while writers go on, whole or absent; what is restored is that, and can be finished."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import remove_folder, whole_folder
from evoembedding.schemas.leases import leased
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import list_versions
from evoembedding.warehouse.ledger import SqliteLedger
from evoembedding.warehouse.shards.shard_sets import check_shards
from evoembedding.warehouse.upkeep import backup
from evoembedding.warehouse.upkeep.backup import back_up
from evoembedding.warehouse.upkeep.backup_manifest import MANIFEST, digest_of
from evoembedding.warehouse.upkeep.doctor import examine
from evoembedding.warehouse.upkeep.restore import restore
from evoembedding.warehouse.upkeep.retention import expire
from tests.soak import count

WEIGHTS = "model.safetensors"
# Appends, asks, publishes and shards, a step after the other; a rerun goes on.
WRITER = """
import sys
from pathlib import Path
from evoembedding.schemas.teacher import TeacherRequest
from tests.records import teacher_call
from tests.warehouse.world import WordTokenizer, make_partition
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.ledger import SqliteLedger
from evoembedding.warehouse.shards.shard_sets import build_shards
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
home, steps = Path(sys.argv[1]), int(sys.argv[2])
ledger = SqliteLedger.open(home)
with Warehouse.open(home) as warehouse:
    for step in range(steps):
        call = teacher_call(f"call-{step}", "large")
        ledger.record(call, TeacherRequest.model_construct(messages=()))
        warehouse.append_all(make_partition(5 * step, 5 * step + 5))
        version = publish(warehouse, "d", "{}", None, EpisodeFilter())
        build_shards(warehouse, version, WordTokenizer(), home / "shards")
        print(step, flush=True)
"""
STEPS = count(12, 40)


def writer(home: Path, steps: int = STEPS) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", WRITER, str(home), str(steps)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environ)


def finished(home: Path) -> dict[str, object]:
    """What a home holds when the writer has ended on it."""
    process = writer(home)
    process.communicate()
    assert process.returncode == 0
    assert [f for f in examine(home, WEIGHTS, deep=True) if f.kind == "damaged"] == []
    with Warehouse.open(home) as warehouse:
        newest = list_versions(warehouse)[-1]
        rows = warehouse.query("SELECT * FROM lake.shard_sets WHERE dataset_id = ?", (newest.dataset_id,))
        check_shards(home / rows["place"][0])
        return {"digest": newest.digest, "episodes": newest.episodes, "shards": rows["manifest_digest"][0]}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two steps of the writer."""
    process = writer(tmp_path / "home", 2)
    process.communicate()
    assert process.returncode == 0
    return tmp_path / "home"


@pytest.mark.slow
def test_a_backup_while_a_writer_goes_on_is_of_one_point_and_is_finished_elsewhere(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "restored"
    home.mkdir()
    process = writer(home)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    manifest = back_up(home, tmp_path / "backup", WEIGHTS)
    assert process.poll() is None  # it went on
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert restore(tmp_path / "backup", copy) == manifest
    assert [f for f in examine(copy, WEIGHTS, deep=True) if f.kind != "removed"] == []
    with Warehouse.open(home) as ours, Warehouse.open(copy) as theirs:
        assert theirs.snapshot() == manifest.snapshot <= ours.snapshot()
        published = {version.label: version for version in list_versions(ours)}
        assert len(list_versions(theirs)) >= 3
        assert all(published[version.label] == version for version in list_versions(theirs))
        calls = {f"call-{n}" for n in range(len(list_versions(theirs)))}
    ledger = SqliteLedger.open(copy)
    assert all(ledger.find(call) for call in calls)
    ledger.close()
    shutil.rmtree(tmp_path / "backup")
    assert finished(copy) == finished(home)


@pytest.mark.slow
def test_what_is_restored_is_what_was_backed_up(home: Path, tmp_path: Path) -> None:
    (home / "runs" / "run-1").mkdir(parents=True)
    (home / "runs" / "run-1" / "metrics.jsonl").write_text("{}\n")
    (home / "runs" / "run-1" / "x.1-0a1b2c3d.partial").write_text("half")
    (home / "runs" / "link").symlink_to(tmp_path)
    (home / "prefect").mkdir()
    seen: list[tuple[int, int]] = []
    manifest = back_up(home, tmp_path / "backup", WEIGHTS, lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    copy = tmp_path / "new" / "home"
    restore(tmp_path / "backup", copy)
    assert sorted(path.name for path in copy.iterdir()) == ["ledger.sqlite", "runs", "shards", "warehouse"]
    assert [path.name for path in (copy / "runs").rglob("*")] == ["run-1", "metrics.jsonl"]
    assert not any("lock" in file.place or "wal" in file.place for file in manifest.files)
    assert finished(copy) == finished(home)


def test_a_damaged_or_incomplete_backup_is_refused_and_the_home_stays_empty(home: Path, tmp_path: Path) -> None:
    whole, bad, copy = tmp_path / "backup", tmp_path / "bad", tmp_path / "restored"
    manifest = back_up(home, whole, WEIGHTS)

    def refused(match: str) -> None:
        with pytest.raises(EvoError, match=match):
            restore(bad, copy)
        assert not copy.exists() or not list(copy.iterdir())
        shutil.rmtree(bad)

    for file in (manifest.files[0], manifest.files[-1]):
        shutil.copytree(whole, bad)
        data = bytearray((bad / file.place).read_bytes())
        data[len(data) // 2] ^= 1
        (bad / file.place).write_bytes(data)
        refused("is damaged: .* nothing was restored")
        shutil.copytree(whole, bad)
        (bad / file.place).unlink()
        refused("is damaged: .* nothing was restored")
    shutil.copytree(whole, bad)
    (bad / MANIFEST).unlink()
    refused("is no complete backup")
    for key, value, match in (("form", 99, "is of form 99"), ("files", [], "is damaged")):
        shutil.copytree(whole, bad)
        told = json.loads((bad / MANIFEST).read_text())
        (bad / MANIFEST).write_text(json.dumps({**told, key: value}))
        refused(match)
    (tmp_path / "secret").write_text("x")
    for place in ("../secret", str(tmp_path / "secret")):  # not damage, but malice
        shutil.copytree(whole, bad)
        files = (manifest.files[0].replace(place=place), *manifest.files[1:])
        told_anew = manifest.replace(files=files, digest=digest_of(files))
        (bad / MANIFEST).write_text(told_anew.model_dump_json())
        refused("leads out of")


def test_a_home_that_holds_something_is_not_restored_over(home: Path, tmp_path: Path) -> None:
    back_up(home, tmp_path / "backup", WEIGHTS)
    with pytest.raises(EvoError, match="holds something"):
        restore(tmp_path / "backup", home)


def test_what_cannot_be_backed_up_is_said(home: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for target, match in (("there", "is there already"), ("file", "is there already"), ("home/backup", "in the home")):
        with pytest.raises(EvoError, match=match):
            back_up(home, tmp_path / target, WEIGHTS)
    with pytest.raises(EvoError, match="holds no warehouse"):
        back_up(tmp_path / "there", tmp_path / "backup", WEIGHTS)
    shard = next(home.glob("shards/*/*.parquet"))
    shard.write_bytes(b"other")
    with pytest.raises(EvoError, match="the home is damaged"):
        back_up(home, tmp_path / "backup", WEIGHTS)
    assert not (tmp_path / "backup").exists()


def test_nothing_expires_while_a_backup_is_taken(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        with leased(home / "warehouse" / "data"), pytest.raises(EvoError, match="a backup is being taken"):
            expire(warehouse, ["d@1"], dry=False)
        expire(warehouse, ["d@1"], dry=False)


def test_a_killed_backup_is_none_and_the_next_removes_what_it_left(home: Path, tmp_path: Path) -> None:
    script = "import sys, os; from pathlib import Path; from evoembedding.warehouse.upkeep.backup import back_up; "
    script += "back_up(Path(sys.argv[1]), Path(sys.argv[2]), 'w', lambda done, total: os.kill(os.getpid(), 9))"
    target = tmp_path / "backups" / "one"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", script, str(home), str(target)], env=environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    assert len(list(target.parent.iterdir())) == 1
    back_up(home, target, WEIGHTS)
    assert list(target.parent.iterdir()) == [target]


def test_folders_that_are_replaced_while_they_are_copied_are_whole(tmp_path: Path) -> None:
    source, over = tmp_path / "checkpoints", threading.Event()
    source.mkdir()

    def write(step: int) -> None:
        with whole_folder(source / f"step-{step:04d}") as folder:
            for name in ("a", "b", "c"):
                (folder / name).write_text(str(step))

    def train() -> None:
        step = 1
        while not over.is_set():
            write(step := step + 1)
            for old in sorted(source.glob("step-????"))[:-2]:
                remove_folder(old)

    write(1)
    thread = threading.Thread(target=train)
    thread.start()
    try:
        for number in range(count(20, 200)):
            copy = tmp_path / f"copy-{number}"
            backup._copy_folder(source, copy, lambda size: None)
            for folder in copy.iterdir():
                assert [path.read_text() for path in sorted(folder.iterdir())] == [str(int(folder.name[5:]))] * 3
    finally:
        over.set()
        thread.join()

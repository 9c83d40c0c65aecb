"""Damage, full disks, read-only folders and hostile names: one sentence each, from the real command, and no harm."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evoembedding.flows.build_dataset import publish_version, shard_version
from evoembedding.flows.commands.doctor import WEIGHTS
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.configs import Recipe, SimulatorConfig
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import list_versions
from evoembedding.warehouse.upkeep.content_ids import CERTIFIED
from evoembedding.warehouse.upkeep.doctor import examine
from tests.soak import count, only_soaking
from tests.warm import Done, run_each

HOSTILE = ["../x", "a'; drop table episodes; --", "x" * 300, "🙂", "a\nb", "a@b@c", "%s[/red]"]
Words = tuple[str, ...]
READING: list[Words] = [
    ("dataset", "list"),
    ("dataset", "show", "d@1"),
    ("dataset", "diff", "d@1", "d@2"),
    ("trace", "d@1"),
]

DIFF: Words = ("dataset", "diff", "d@1", "d@2")
DOCTOR: Words = ("doctor", "--json")


def small(contexts: int) -> Recipe:
    """Simulated dialogues only."""
    base = recipe("smallest")
    simulator = SimulatorConfig(contexts=contexts)
    return base.model_copy(update={"name": "small", "simulator": simulator, "cloze": None, "heldout_contexts": 0})


def grow(home: Path, start: int, stop: int) -> None:
    with Warehouse.open(home) as warehouse:
        commit_drafts(warehouse, simulate(SimulatorConfig(contexts=stop), start, stop))


def run(home: Path, *commands: Words) -> list[Done]:
    """The commands, one after the other in one process."""
    return run_each(commands, {**os.environ, "EVO_HOME": str(home), "COLUMNS": "300"})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """d@1 with shards, and d@2 of more episodes. Tests change a copy."""
    home: Path = tmp_path_factory.mktemp("world") / "home"
    grow(home, 0, 20)
    publish_version.fn(home, "d", small(20))
    shard_version.fn(home, "d@1", small(20).train.model)
    grow(home, 20, 30)
    publish_version.fn(home, "d", small(30))
    return home


@pytest.fixture(scope="module")
def home(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(world, tmp_path_factory.mktemp("damaged") / "home"))


def sentence(done: Done) -> str:
    """What a command that failed as it should has said."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if not re.match(r"(curate|shard .*|lineage): ", line)]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("evo: ")
    return lines[0]


def found_by(done: Done) -> list[dict[str, str]]:
    """The findings of `evo doctor --json`."""
    found: list[dict[str, str]] = json.loads(done.stdout)
    assert done.returncode == int(any(f["kind"] == "damaged" for f in found)), done.stderr
    assert "Traceback" not in done.stderr
    return found


@contextmanager
def changed(path: Path, change: Callable[[bytes], bytes] | None) -> Iterator[None]:
    """The file with other bytes, or gone; then as it was."""
    good, times = path.read_bytes(), path.stat()
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(good))
    try:
        yield
    finally:
        path.write_bytes(good)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def flip(position: float) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        at = int(position * (len(data) - 1))
        return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]

    return change


def data_file(home: Path, table: str) -> Path:
    return max((home / "warehouse" / "data").rglob(f"{table}/*.parquet"), key=lambda path: path.stat().st_size)


def all_is_well(home: Path) -> None:
    assert list(examine(home, WEIGHTS, deep=True)) == []
    with Warehouse.open(home) as warehouse:
        assert [v.label for v in list_versions(warehouse)] == ["d@1", "d@2"]


def test_the_world_is_well(home: Path) -> None:
    all_is_well(home)
    plain, deep, as_json = run(home, ("doctor",), ("doctor", "--deep"), DOCTOR)
    assert (plain.stdout.strip(), deep.stdout.strip(), found_by(as_json)) == ("all is well", "all is well", [])


@pytest.mark.slow
@pytest.mark.parametrize("table", ["episodes", "contexts", "questions"])
def test_a_byte_flipped_in_a_data_file_is_found_or_is_one_that_nothing_reads(home: Path, table: str) -> None:
    path, rng, found = data_file(home, table), random.Random(table), 0
    good, seen = read(home, table), list(examine(home, WEIGHTS, deep=True))
    assert seen == []
    for position in (1.0, *(rng.random() for _ in range(count(2, 6)))):
        with changed(path, flip(position)):
            seen = list(examine(home, WEIGHTS, deep=True))
            assert {f.kind for f in seen} <= {"damaged"}
            assert seen or read(home, table) == good, position
            found += bool(seen)
    assert found >= count(1, 3)
    all_is_well(home)


def read(home: Path, table: str) -> int:
    """A hash over what ids certify of a table's rows."""
    with Warehouse.open(home) as warehouse:
        read = f"SELECT {CERTIFIED[table].columns} FROM lake.{table} {CERTIFIED[table].joined}"
        return int(warehouse.query(f"SELECT bit_xor(hash(t)) FROM ({read}) t").item())


@pytest.mark.slow
def test_commands_that_meet_a_damaged_data_file_say_so(home: Path) -> None:
    with changed(data_file(home, "contexts"), flip(1.0)):
        shard, *others = run(
            home, ("shard", "d@2", "--recipe", "smallest"), ("dataset", "list"), ("dataset", "show", "d@2")
        )
        assert "cannot be used" in sentence(shard)
        assert [done.returncode for done in others] == [0, 0]  # what does not need the file still reads
    with changed(data_file(home, "episodes"), lambda data: data[: len(data) // 2]):
        diff, doctor = run(home, DIFF, DOCTOR)
        assert "cannot be used" in sentence(diff)
        (finding,) = [f for f in found_by(doctor) if f["what"] == "data file"]
        assert "bytes, not" in finding["says"]
    all_is_well(home)
    assert run(home, DIFF)[0].returncode == 0


def test_a_deleted_data_file_is_named(home: Path) -> None:
    path = data_file(home, "dataset_members")
    with changed(path, None):
        diff, doctor, funnel = run(home, DIFF, DOCTOR, ("dataset", "funnel"))
        assert path.name in sentence(diff)
        assert any(f["name"] == path.name and "missing" in f["says"] for f in found_by(doctor))
        assert funnel.returncode == 0
    all_is_well(home)


@pytest.mark.slow
@pytest.mark.parametrize("change", [flip(0.4), None], ids=["flipped", "deleted"])
def test_a_damaged_shard_is_named(home: Path, change: Callable[[bytes], bytes] | None) -> None:
    path = next((home / "shards").rglob("shard-*.parquet"))
    with changed(path, change):
        shard, doctor, diff = run(home, ("shard", "d@1", "--recipe", "smallest"), DOCTOR, DIFF)
        assert path.name in sentence(shard)
        (finding,) = found_by(doctor)
        assert finding["what"] == "shard set"
        assert "--force" in finding["says"]
        assert diff.returncode == 0
    all_is_well(home)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [None, 0.0, 0.3, 0.9][:: count(2, 1)])
def test_a_truncated_catalog_is_not_taken_for_a_new_one(home: Path, keep: float | None) -> None:
    path = home / "warehouse" / "catalog.sqlite"
    with changed(path, None if keep is None else lambda data: data[: int(keep * len(data))]):
        *others, doctor = run(home, ("dataset", "list"), ("dataset", "publish", "d", "--recipe", "smallest"), DOCTOR)
        for done in others:
            assert "warehouse" in sentence(done)
        (finding,) = found_by(doctor)
        assert (finding["kind"], finding["what"]) == ("damaged", "catalog")
        if not keep:
            assert "catalog is missing" in finding["says"]
    all_is_well(home)


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """A small disk of its own, of the world."""
    folder.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@only_soaking  # tests/reliability/test_full_disk.py: every stage by itself
def test_a_full_disk_harms_nothing_that_is_there(world: Path, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "24m") as disk:
        home = Path(shutil.copytree(world, disk / "home"))
        grow(home, 30, 40)
        shard = ("shard", "d@2", "--recipe", "smallest")
        filler = disk / "filler"
        for left in (0, 65536):
            filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - left))
            for done in run(home, ("dataset", "publish", "d", "--recipe", "smallest", "--contexts", "40"), shard):
                if left == 0 or done.returncode:
                    assert any(sign in sentence(done) for sign in ("No space left", "disk is full"))
            filler.unlink()
            assert not [f for f in examine(home, WEIGHTS, deep=True) if f.kind == "damaged"]
        assert run(home, shard)[0].returncode == 0
        with Warehouse.open(home) as warehouse:
            assert [v.label for v in list_versions(warehouse)][:2] == ["d@1", "d@2"]


@only_soaking  # tests/reliability/test_read_only.py
def test_a_read_only_folder_is_said_or_read(world: Path, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "24m") as disk:
        home = Path(shutil.copytree(world, disk / "home"))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        writing: list[Words] = [("dataset", "tag", "d@1", "stable"), ("dataset", "publish", "d"), ("shard", "d@2")]
        done = run(home, *READING, ("doctor",), *writing)
        for one in done[-len(writing) :]:
            assert any(sign in sentence(one) for sign in ("writ", "Read-only file system"))
        for one in done[: -len(writing)]:
            if one.returncode:
                assert "writ" in sentence(one)
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert {one.returncode for one in run(home, *READING, ("doctor", "--deep"))} == {0}


@pytest.mark.slow
def test_hostile_names_are_refused_by_every_command(home: Path) -> None:
    commands: list[Words] = []
    for name in HOSTILE:
        every: list[Words] = [
            ("dataset", "publish", "--recipe", "smallest", "--", name),
            ("dataset", "tag", "d@1", "--", name),
            ("dataset", "tag", "--", name, "stable"),
            ("dataset", "tag", "--remove", "--", "d", name),
            ("dataset", "show", "--", name),
            ("dataset", "show", f"d@{name}"),
            ("dataset", "diff", "d@1", "--", name),
            ("dataset", "expire", "--yes", "--", name),
            ("trace", "--", name),
            ("impact", "--", name),
        ]
        commands += every if name in HOSTILE[:2] else random.Random(name).sample(every, 3)
    for words, done in zip(commands, run(home, *commands), strict=True):
        assert sentence(done), words
    with Warehouse.open(home) as warehouse:
        assert [v.label for v in list_versions(warehouse)] == ["d@1", "d@2"]
        assert warehouse.query("SELECT count(*) FROM dataset_tags").item() == 0
        assert warehouse.query("SELECT count(*) FROM episodes").item() > 0


def test_doctor_finds_what_is_left_and_removes_it_only_when_asked(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        folder = Path(data_file(home, "contexts")).parent
        known = warehouse.query("SELECT place FROM lake.shard_sets")["place"][0]
    left = [
        folder / "ducklake-never-committed.parquet",
        home / "shards" / ".shards-half-0a1b",
        home / "shards" / "shards-without-manifest",
        home / "tokenizers" / "x.partial",
    ]
    shutil.copy(data_file(home, "contexts"), left[0])
    for made in left[1:3]:
        made.mkdir()
        (made / "shard-00000.parquet").write_bytes(b"half")
    left[3].write_bytes(b"half")
    found, young = map(found_by, run(home, DOCTOR, (*DOCTOR, "--remove-orphans")))
    assert {f["name"] for f in found} == {path.name for path in left}
    assert {f["kind"] for f in [*found, *young]} == {"orphan"}  # made just now: a command could be at work on them
    assert all(path.exists() for path in left)
    with Warehouse.open(home) as warehouse, warehouse.backend.writing():
        (busy,) = run(home, (*DOCTOR, "--remove-orphans", "--older-than", "0"))
        assert "another process writes" in sentence(busy)
    assert all(path.exists() for path in left)
    (gone,) = run(home, (*DOCTOR, "--remove-orphans", "--older-than", "0"))
    assert {f["kind"] for f in found_by(gone)} == {"removed"}
    assert not any(path.exists() for path in left)
    assert (home / known).exists()
    all_is_well(home)

"""Publishers at once give two versions or the same one, readers wait for no writer, and kills leave old or new."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from evoembedding.schemas.shard import EpisodeTokenizer
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, list_versions, members_digest, publish, resolve
from evoembedding.warehouse.shards.shard_sets import build_shards, check_shards
from evoembedding.warehouse.upkeep.doctor import Finding, examine
from tests.soak import SOAKING, count
from tests.warehouse.world import make_partition

KILLS = count(6, 30)
PUBLISHER = """
import sys
from pathlib import Path
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
with Warehouse.open(Path(sys.argv[1])) as warehouse:
    print("ready", flush=True)
    sys.stdin.readline()
    print(publish(warehouse, "d", sys.argv[2], None, EpisodeFilter(generators=tuple(sys.argv[3:]))).label)
"""
WRITER = """
import sys
from pathlib import Path
from evoembedding.warehouse.catalog import Warehouse
def work(con):
    con.execute(
        "INSERT INTO lake.dataset_members (dataset_id, episode_id) SELECT 'ds-x', 'ep-' || range FROM range(100)"
    )
    print("ready", flush=True)
    sys.stdin.readline()
with Warehouse.open(Path(sys.argv[1])) as warehouse:
    warehouse.transaction(work)
print("done", flush=True)
"""
READER = """
import sys
from pathlib import Path
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import episodes_of, resolve
with Warehouse.open(Path(sys.argv[1])) as warehouse:
    version = resolve(warehouse, "d@1")
    others = warehouse.query("SELECT count(*) FROM dataset_members WHERE dataset_id = 'ds-x'").item()
    print(len(episodes_of(warehouse, version.dataset_id)), others)
"""
# Forks a process for each line that it reads, since imports take longer than the work. The child appends parts, and
# publishes and shards after each.
SIZE = 12  # contexts a part
ZYGOTE = """
import os, sys, zlib
from pathlib import Path
import polars as pl
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.shards.shard_sets import build_shards
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish

class Words:
    digest = "words-1"
    def memory(self, segments): return [self.words(s.text) for s in segments]
    def retriever(self, segments): return [[*self.words(s.text), 0] for s in segments]
    def queries(self, texts): return [[*self.words(t), 0] for t in texts]
    def answers(self, questions, answers):
        return [([1], self.words(q), [*self.words(a), 0]) for q, a in zip(questions, answers)]
    def words(self, text): return [zlib.crc32(w.encode()) % 5000 for w in text.split()]

def work(home, parts):
    with Warehouse.open(home) as warehouse:
        for part in parts:
            warehouse.append_all({path.stem: pl.read_parquet(path) for path in sorted(part.glob("*.parquet"))})
            version = publish(warehouse, "d", "{}", None, EpisodeFilter())
            build_shards(warehouse, version, Words(), home / "shards", rows_per_shard=50)

home, parts = Path(sys.argv[1]), sorted(Path(sys.argv[2]).iterdir())
for line in sys.stdin:
    first, last = map(int, line.split())
    child = os.fork()
    if child == 0:
        try:
            work(home, parts[first:last])
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def process(script: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process of its own; ended with the test."""
    pipe = subprocess.PIPE
    started = subprocess.Popen([sys.executable, "-c", script, *words], stdin=pipe, stdout=pipe, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def line(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


def tell(started: subprocess.Popen[str], text: str = "") -> None:
    assert started.stdin is not None
    started.stdin.write(text + "\n")
    started.stdin.flush()


def whole(warehouse: Warehouse, newest: int = 3) -> None:
    """The newest versions hold what their digests say, and the newest shard sets of the catalog are complete."""
    for version in list_versions(warehouse)[-newest:]:
        assert members_digest(warehouse, version.dataset_id) == (version.digest, version.episodes)
    sets = warehouse.query("SELECT place FROM lake.shard_sets ORDER BY created_at DESC LIMIT ?", (newest,))
    for place in sets["place"]:
        check_shards(warehouse.home / place)


@pytest.mark.parametrize(
    ("filters", "labels"),
    [((("cloze",), ("simulator",)), ["d@1", "d@2"]), (((), ()), ["d@1", "d@1"])],
    ids=["other content", "the same content"],
)
def test_two_processes_that_publish_at_once(
    tmp_path: Path, filters: tuple[tuple[str, ...], ...], labels: list[str]
) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.append_all(make_partition(0, 200))
    words = [(PUBLISHER, str(tmp_path), recipe, *chosen) for recipe, chosen in zip("ab", filters, strict=True)]
    with process(*words[0]) as one, process(*words[1]) as two:
        assert (line(one), line(two)) == ("ready", "ready")
        tell(one)
        tell(two)
        assert sorted([line(one), line(two)]) == labels
    with Warehouse.open(tmp_path) as warehouse:
        versions = list_versions(warehouse)
        assert [v.label for v in versions] == sorted(set(labels))
        assert [v.parent for v in versions] == [None, "d@1"][: len(versions)]
        assert {v.episodes for v in versions} == ({100} if len(versions) == 2 else {200})
        whole(warehouse)


def test_a_reader_waits_for_no_writer(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.append_all(make_partition(0, 10))
        publish(warehouse, "d", "{}", None, EpisodeFilter())
    with process(WRITER, str(tmp_path)) as writer:
        assert line(writer) == "ready"
        with process(READER, str(tmp_path)) as reader:
            assert line(reader) == "10 0"  # while the transaction is open
        tell(writer)
        assert line(writer) == "done"
    with process(READER, str(tmp_path)) as reader:
        assert line(reader) == "10 100"


def test_a_version_is_read_as_of_its_snapshot(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.append_all(make_partition(0, 10))
        first = publish(warehouse, "d", "{}", None, EpisodeFilter())
        warehouse.append_all(make_partition(10, 20))
        publish(warehouse, "d", "{}", None, EpisodeFilter())
    with Warehouse.open(tmp_path, at=first.snapshot) as then:
        assert then.query("SELECT count(*) FROM episodes").item() == 10
    with Warehouse.open(tmp_path, at=first.snapshot + 1) as then:
        assert resolve(then, "d") == first
        assert members_digest(then, first.dataset_id) == (first.digest, 10)


@pytest.mark.slow
def test_kills_leave_the_old_version_or_the_new_one(tmp_path: Path, tokenizer: EpisodeTokenizer) -> None:
    home, parts, rng = tmp_path / "home", tmp_path / "parts", random.Random(0)
    for number in range(3 * KILLS + 10):
        (parts / f"{number:03d}").mkdir(parents=True)
        for name, frame in make_partition(SIZE * number, SIZE * (number + 1)).items():
            frame.write_parquet(parts / f"{number:03d}" / f"{name}.parquet")
    with process(ZYGOTE, str(home), str(parts)) as zygote:
        tell(zygote, "0 1")
        assert (line(zygote).isdigit(), line(zygote)) == (True, "0")
        began = time.monotonic()
        tell(zygote, "1 2")
        assert (line(zygote).isdigit(), line(zygote)) == (True, "0")
        longest = time.monotonic() - began
        seen, kills, done = {}, 0, 2
        while kills < KILLS:
            tell(zygote, f"{done - 1} {done + 1}")
            child = int(line(zygote))
            time.sleep(rng.uniform(0.05, 1.5) * longest)
            with suppress(ProcessLookupError):  # it was done already
                os.kill(child, signal.SIGKILL)
            kills += line(zygote) == "-9"
            with Warehouse.open(home) as warehouse:
                whole(warehouse)
                now = {v.label: v for v in list_versions(warehouse)}
                done = warehouse.query("SELECT count(*) FROM contexts").item() // SIZE
            assert {label: now[label] for label in seen} == seen  # old versions are what they were
            assert list(now) == [f"d@{n}" for n in range(1, len(now) + 1)]
            seen = now
        left = list(examine(home, "weights", deep=True))
        assert {finding.kind for finding in left} <= {"orphan"}
        assert left or not SOAKING  # few kills need not meet a writer whose files are not committed yet
        assert list(examine(home, "weights")) == left
        gone = list(examine(home, "weights", remove_orphans=True, older_than=0))
        assert [(f.kind, f.name) for f in gone] == [("removed", f.name) for f in left]
        tell(zygote, f"0 {len(seen) + 2}")
        assert (line(zygote).isdigit(), line(zygote)) == (True, "0")
    assert list[Finding](examine(home, "weights", deep=True)) == []
    with Warehouse.open(home) as warehouse:
        newest = resolve(warehouse, "d")
        assert newest.episodes == warehouse.query("SELECT count(*) FROM episodes").item()
        shards = build_shards(warehouse, newest, tokenizer, home / "shards", rows_per_shard=50)
        assert shards.rows == newest.episodes

"""What a running command makes is no orphan, however young orphans may be; what a killed one left is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.upkeep.orphans import orphans, remove
from tests.warehouse.world import make_partition

# Stops at its first step, until it is killed or told to go on.
SHARD = """
import sys
from pathlib import Path
from tests.warehouse.world import WordTokenizer
from evoembedding.warehouse.shards import shard_sets as shards
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import resolve
def stop(*_):
    print("there", flush=True)
    sys.stdin.readline()
home, when = Path(sys.argv[1]), sys.argv[2]
progress = stop if when == "tokenising" else None
if when == "before its row":
    record = shards._record
    shards._record = lambda *of: (stop(), record(*of))[1]
with Warehouse.open(home) as warehouse:
    shards.build_shards(warehouse, resolve(warehouse, "d@1"), WordTokenizer(), home / "shards", progress=progress)
"""
EXPORT = """
import sys
from pathlib import Path
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.exchange.export import export_version
from evoembedding.warehouse.datasets.versions import resolve
def stop(*_):
    print("there", flush=True)
    sys.stdin.readline()
with Warehouse.open(Path(sys.argv[1])) as warehouse:
    export_version(warehouse, resolve(warehouse, "d@1"), Path(sys.argv[2]), progress=stop)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with Warehouse.open(tmp_path / "home") as warehouse:
        warehouse.append_all(make_partition(0, 10))
        publish(warehouse, "d", "{}", None, EpisodeFilter())
    return tmp_path / "home"


def stopped(script: str, *words: str) -> subprocess.Popen[str]:
    """A process that is in the middle of its work."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


@pytest.mark.parametrize("when", ["tokenising", "before its row"])
def test_the_work_of_a_running_shard_job_stays(home: Path, when: str) -> None:
    job = stopped(SHARD, str(home), when)
    with Warehouse.open(home) as warehouse:
        assert [orphan.young for orphan in orphans(warehouse, home, 0)] == [True]
        assert remove(warehouse, home, 0) == []
        job.communicate("\n" * 99)
        assert job.returncode == 0
        assert orphans(warehouse, home, 0) == []


@pytest.mark.parametrize("when", ["tokenising", "before its row"])
def test_the_work_of_a_killed_shard_job_goes(home: Path, when: str) -> None:
    job = stopped(SHARD, str(home), when)
    job.send_signal(signal.SIGKILL)
    job.wait()
    with Warehouse.open(home) as warehouse:
        assert remove(warehouse, home, 24) == []
        (gone,) = remove(warehouse, home, 0)
        assert not Path(gone.path).exists()
        assert list((home / "shards").iterdir()) == []


def test_what_a_killed_export_left_is_removed_by_the_next(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "exp-k"
    for _ in range(2):
        export = stopped(EXPORT, str(home), str(target))
        export.send_signal(signal.SIGKILL)
        export.wait()
        assert len(list(target.parent.iterdir())) == 1
    export = stopped(EXPORT, str(home), str(target))
    export.communicate("\n" * 99)
    assert export.returncode == 0
    assert [path.name for path in target.parent.iterdir()] == ["exp-k"]

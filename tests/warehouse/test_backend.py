"""Where a warehouse lies: what a URL may hold, and eight processes at once on PostgreSQL and S3."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.backend import CATALOG_URL, DATA_URL, Backend
from evoembedding.warehouse.catalog import Warehouse
from tests.soak import count

# Each appends forty contexts of its own and the same forty as all others, and publishes under a name of its own and
# under one that all use.
WRITER = """
import sys
from pathlib import Path
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.episode import Context, Episode, Segment
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
home, number = Path(sys.argv[1]), int(sys.argv[2])
def rows(mark, numbers):
    contexts = [Context(context_id=f"ctx-{n}", kind="dialogue", generator="g", split="train", seed=n, document_ids=(),
                        segments=(Segment(user=f"text {n}"),), fingerprint=mark) for n in numbers]
    episodes = [Episode(episode_id=f"ep-{n}", context_id=f"ctx-{n}", question_id=f"q-{n}", generator="g", split="train",
                        question_type="t", family="f", question="?", answer="!", evidence=(0,), segments=1,
                        fingerprint=mark) for n in numbers]
    return {"contexts": to_frame(Context, contexts), "episodes": to_frame(Episode, episodes)}
with Warehouse.open(home) as warehouse:
    for part in range(4):
        start = 1000 * (number + 1) + 10 * part
        warehouse.append_all(rows(f"own-{number}", range(start, start + 10)))
        warehouse.append_all(rows("shared", range(10 * part, 10 * part + 10)))
    publish(warehouse, f"own{number}", "{}", None, EpisodeFilter(fingerprints=(f"own-{number}",)))
    publish(warehouse, "shared", "{}", None, EpisodeFilter(fingerprints=("shared",)))
    publish(warehouse, "both", "{}", None, EpisodeFilter(fingerprints=("shared", f"own-{number}")))
"""
PROCESSES = count(2, 8)


@pytest.mark.slow
def test_processes_append_and_publish_at_once(served: Callable[[], dict[str, str]], tmp_path: Path) -> None:
    environment = served()
    writers = [
        subprocess.Popen(
            # Homes of their own, as on machines of their own: nothing is shared but the servers.
            [sys.executable, "-c", WRITER, str(tmp_path / f"home-{n}"), str(n)],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
        )
        for n in range(PROCESSES)
    ]
    for writer in writers:
        assert writer.communicate(timeout=300)[1] == b""
        assert writer.returncode == 0
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with Warehouse.open(tmp_path / "reader") as warehouse:
            for table, key in (("contexts", "context_id"), ("episodes", "episode_id")):
                ids = warehouse.query(f"SELECT {key} FROM lake.{table}")[key]
                assert len(ids) == ids.n_unique() == 40 * PROCESSES + 40
            versions = warehouse.query("SELECT name, number, episodes, digest, dataset_id FROM dataset_versions")
            members = dict(warehouse.query("SELECT dataset_id, count(*) FROM dataset_members GROUP BY ALL").iter_rows())
        assert not (tmp_path / "reader" / "warehouse" / "catalog.sqlite").exists()
        assert not list((tmp_path / "reader" / "warehouse" / "data").iterdir())
    assert sorted(versions.filter(name="both")["number"]) == list(range(1, PROCESSES + 1))
    assert versions.filter(name="shared").select("number", "episodes").rows() == [(1, 40)]
    assert sorted(versions.filter(versions["name"].str.starts_with("own"))["episodes"]) == [40] * PROCESSES
    assert {row["dataset_id"]: row["episodes"] for row in versions.iter_rows(named=True)} == members
    bucket = environment[DATA_URL].split("/")[2]
    assert boto3.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] > 0


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (CATALOG_URL, "mysql://host/db", "is no Postgres URL"),
        (CATALOG_URL, "postgresql://host", "is no Postgres URL"),
        (CATALOG_URL, "postgresql://me:hunter2@host/db", "PGPASSWORD"),
        (CATALOG_URL, "postgresql://host/db?password=hunter2", "PGPASSWORD"),
        (DATA_URL, "https://bucket/prefix", "s3://BUCKET"),
        (DATA_URL, "s3://", "s3://BUCKET"),
        (DATA_URL, "s3://key:hunter2@bucket/x", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_wrong_url_is_one_sentence_without_its_secret(tmp_path: Path, name: str, value: str, says: str) -> None:
    with pytest.raises(EvoError, match=says) as raised:
        Backend.of(tmp_path, {name: value})
    assert "hunter2" not in str(raised.value)
    assert "nothing was opened" in str(raised.value)


def test_servers_that_are_not_there_are_one_sentence(
    served: Callable[[], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = served()
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    monkeypatch.setenv(CATALOG_URL, "postgresql://evo@127.0.0.1:1/db")
    with pytest.raises(EvoError, match="see that the servers run") as raised:
        Warehouse.open(tmp_path)
    assert "hunter2" not in str(raised.value)
    monkeypatch.setenv(CATALOG_URL, there[CATALOG_URL])
    monkeypatch.setenv(DATA_URL, "s3://no-such-bucket/data")
    with pytest.raises(EvoError, match="no-such-bucket"):
        Warehouse.open(tmp_path)

"""Export and import as commands, and documents that an import knows by name alone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from evoembedding.flows.pending import pending_sources
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.flows.teaching.teach import all_items
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import ClozeConfig, DialogueConfig, TeachingConfig
from evoembedding.schemas.dataset import Failure
from evoembedding.schemas.episode import Document
from evoembedding.schemas.teacher import TeacherConfig
from evoembedding.synth import cloze
from evoembedding.synth.documents import document
from evoembedding.synth.generators import Offline
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.documents.texts import add_documents
from tests import warm

CLOZE = ClozeConfig(max_segments=8)
TEXT = " ".join(
    f"The {name} release of this library was made in {year} by a small group of people who wrote it at night."
    for name, year in zip(
        ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove"), range(1991, 1998), strict=True
    )
)


def evo(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(words, {**os.environ, "EVO_HOME": str(home), "COLUMNS": "200"})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One document, the cloze questions on it as `notes@1`."""
    folder = tmp_path_factory.mktemp("home")
    one = document("notes.txt", TEXT, license="CC0-1.0")
    with Warehouse.open(folder) as warehouse:
        warehouse.append("documents", to_frame(Document, [one]))
        assert commit_drafts(warehouse, cloze.cloze(one, CLOZE))
        publish(warehouse, "notes", "{}", "abc", EpisodeFilter())
    return folder


@pytest.mark.slow
def test_export_and_import_as_commands(home: Path, tmp_path: Path) -> None:
    made = evo(home, "dataset", "export", "notes@1", str(tmp_path / "out"), "--format", "jsonl", "--json")
    assert made.returncode == 0, made.stderr
    manifest = json.loads(made.stdout)
    assert manifest["episodes"][0]["name"] == "data/train-00000-of-00001.jsonl"
    again = evo(home, "dataset", "export", "notes@1", str(tmp_path / "out"))
    assert (again.returncode, again.stdout) == (1, "")
    assert "--force" in again.stderr
    done = evo(tmp_path / "there", "dataset", "import", str(tmp_path / "out"), "notes", "--json")
    assert done.returncode == 0, done.stderr
    imported = json.loads(done.stdout)
    assert imported["version"]["digest"] == manifest["version"]["digest"]
    assert (imported["rejected"], imported["there"], imported["new"]) == (0, 0, imported["rows"])
    traced = evo(tmp_path / "there", "trace", "notes@1")
    assert f"import {tmp_path / 'out'}" in traced.stdout
    assert "notes.txt" in traced.stdout
    # The folder that one warehouse's event names as written is what the other's names as read.
    assert events(home)[-1]["eventType"] == "FAIL"  # the second export
    written, read = events(home)[1]["outputs"], events(tmp_path / "there")[1]["inputs"]
    assert [(one["namespace"], one["name"]) for one in written] == [(one["namespace"], one["name"]) for one in read]
    assert events(tmp_path / "there")[1]["outputs"][0]["name"].endswith("dataset_versions/notes@1")


def events(home: Path) -> list[dict[str, Any]]:
    """What OpenLineage was told."""
    (file,) = (home / "lineage").glob("*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_import_tells_what_it_rejects(home: Path, tmp_path: Path) -> None:
    export = evo(home, "dataset", "export", "notes", str(tmp_path / "out"), "--format", "jsonl")
    assert export.returncode == 0, export.stderr
    whole = (tmp_path / "out" / "data" / "train-00000-of-00001.jsonl").read_text()
    (tmp_path / "rows.jsonl").write_text(whole + '{"messages": 1}\n' * 30)
    done = evo(tmp_path / "there", "dataset", "import", str(tmp_path / "rows.jsonl"), "mine")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "messages: Input should be a valid" in lines[0]
    assert "and 10 more, see the table 'failures'" in lines
    assert f"{len(whole.splitlines()) + 30} rows read" in done.stdout
    assert "30 rejected" in done.stdout
    words = warm.command("dataset", "import", "MiG-NJU/EvoTrain-180K", "evotrain180k")
    nowhere = {"EVO_HOME": str(tmp_path / "there"), "HF_ENDPOINT": "http://127.0.0.1:9", "COLUMNS": "200"}
    hub = subprocess.run(words, env={**os.environ, **nowhere}, capture_output=True, text=True, timeout=300)
    assert hub.returncode == 1
    assert hub.stderr.startswith("evo: 'MiG-NJU/EvoTrain-180K' is neither a path nor a dataset of the hub")
    assert "Traceback" not in hub.stderr


def test_documents_without_text_are_not_worked_on_until_ingested(tmp_path: Path) -> None:
    one, other = document("a.txt", TEXT), document("b.txt", TEXT[:200])
    named = to_frame(Document, [one.model_copy(update={"text": ""})])
    none = to_frame(Failure, [])
    teaching = TeachingConfig(
        teachers=(TeacherConfig(model="m", endpoints=("http://127.0.0.1:9/v1",)),), dialogue=DialogueConfig(personas=0)
    )
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.append("documents", named)
        assert pending_sources(warehouse, Offline.of(cloze.generator, CLOZE)) == []
        assert all_items(warehouse, teaching) == []
        both = pl.concat([to_frame(Document, [one, other]), to_frame(Document, [one])])
        assert add_documents(warehouse, both, none) == 2
        assert add_documents(warehouse, both, none) == 0
        assert pending_sources(warehouse, Offline.of(cloze.generator, CLOZE)) == sorted(
            [one.document_id, other.document_id]
        )
        assert all_items(warehouse, teaching)
        texts = dict(warehouse.query("SELECT document_id, text FROM lake.documents").iter_rows())
    assert texts == {one.document_id: TEXT, other.document_id: TEXT[:200]}

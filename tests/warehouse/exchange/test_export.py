"""Export: what `datasets` and a reader of the published form get, and that a folder is whole or absent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import DatasetCard

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.statistics import PAPER
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish, resolve
from evoembedding.warehouse.exchange.export import export_version

TOLD = [
    ([("I moved to Lisbon.", "How nice."), ("Plain text. ", "")], [("Where do I live?", "Lisbon", (0,))]),
    ([("a", "b"), ("c", "d"), ("e", "")], [("one?", "a", (0, 2)), ("two?", "b", (1,))]),
    *(([(f"user {n}", ""), ("x", f"reply {n}")], [(f"what is {n}?", str(n), (1,))]) for n in range(7)),
]


@pytest.fixture(scope="module")
def home(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    world.published(folder, TOLD)
    return folder


def exported(home: Path, folder: Path, **settings: object) -> Path:
    with Warehouse.open(home) as warehouse:
        export_version(warehouse, resolve(warehouse, "odd"), folder, **settings)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_datasets_opens_it(home: Path, tmp_path: Path, form: str) -> None:
    folder = exported(home, tmp_path / "made" / "here", form=form, rows_a_file=4)
    cache = str(tmp_path / "cache")
    whole = datasets.load_dataset(str(folder), cache_dir=cache)
    assert {split: len(rows) for split, rows in whole.items()} == {"train": 10}
    plain = datasets.load_dataset(
        {"jsonl": "json"}.get(form, form), data_files=str(folder / "data" / f"*.{form}"), cache_dir=cache
    )["train"]
    assert plain.to_list() == whole["train"].to_list()
    assert len(datasets.load_dataset(str(folder), "documents", cache_dir=cache)["train"]) == 6
    assert sorted(p.name for p in (folder / "data").iterdir()) == [f"train-0000{n}-of-00003.{form}" for n in range(3)]
    assert {p.suffix for p in folder.rglob("*") if p.is_file()} == {".md", ".json", f".{form}"}  # nothing pickled
    assert [p.name for p in folder.parent.iterdir()] == ["here"]


def test_rows_are_the_published_form_and_more(home: Path, tmp_path: Path) -> None:
    folder = exported(home, tmp_path / "out", form="jsonl")
    rows = [json.loads(line) for line in (folder / "data/train-00000-of-00001.jsonl").read_bytes().splitlines()]
    assert [row["context_id"] for row in rows] == sorted(row["context_id"] for row in rows)
    row = next(row for row in rows if row["meta"]["turns"][-1] == "Where do I live?")
    assert row["messages"] == [
        {"role": "user", "content": "I moved to Lisbon."},
        {"role": "assistant", "content": "How nice."},
        {"role": "user", "content": "Plain text. "},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Where do I live?"},
        {"role": "assistant", "content": "Lisbon"},
    ]
    assert row["meta"] == {
        "turns": [
            "User: I moved to Lisbon.\nAssistant: How nice.",
            "User: Plain text. \nAssistant:",
            "Where do I live?",
        ],
        "evidence_turns": [0],
    }
    assert (row["kind"], row["question_type"], row["family"], row["split"]) == ("web", "latest", "temporal", "train")
    assert row["document_ids"] == ["doc-0"]
    assert [verdict["check_name"] for verdict in row["verdicts"]] == ["all", "grounded"]
    assert row["evidence"][0]["voters"] == 3


def test_the_card_tells_what_it_is_and_no_secret(home: Path, tmp_path: Path) -> None:
    folder = exported(home, tmp_path / "out")
    card = DatasetCard.load(folder / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.size_categories == ["n<1K"]
    assert [c["config_name"] for c in card.data.configs] == ["default", "documents", "teacher_calls", "fingerprints"]
    with Warehouse.open(home) as warehouse:
        version = resolve(warehouse, "odd")
    for told in (version.digest, "EvoTrain-180K", "accepted", "CC-BY-4.0", "evo dataset publish odd", "abc", *PAPER):
        assert told in card.text
    for path in folder.rglob("*"):
        assert path.is_dir() or b"10.0.0.7" not in path.read_bytes(), "where a teacher is reached"
        assert path.is_dir() or b"an answer" not in path.read_bytes()


def test_the_same_rows_give_the_same_folder(world: Any, home: Path, tmp_path: Path) -> None:
    first, again = exported(home, tmp_path / "a"), exported(home, tmp_path / "b")
    assert world.files(first) == world.files(again)
    assert (first / "README.md").read_bytes() == (again / "README.md").read_bytes()


def test_a_folder_with_other_files_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all I have")
    (tmp_path / "file").write_text("")
    for target, force, said in (("mine", True, "no export made"), ("file", True, "is a file"), ("file/x", False, "")):
        with pytest.raises(EvoError, match=said or "cannot be written"):
            exported(home, tmp_path / target, force=force)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all I have"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "mine"]


def test_an_earlier_export_is_replaced_when_asked(world: Any, home: Path, tmp_path: Path) -> None:
    folder = exported(home, tmp_path / "out", form="jsonl")
    with pytest.raises(EvoError, match="--force"):
        exported(home, folder)
    assert world.files(folder)["data/train-00000-of-00001.jsonl"]
    exported(home, folder, force=True)
    assert {Path(name).suffix for name in world.files(folder)} == {".parquet"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_version_that_lacks_rows_is_not_exported(world: Any, tmp_path: Path) -> None:
    version = world.published(tmp_path / "home", TOLD[:2])
    with Warehouse.open(tmp_path / "home") as warehouse:
        warehouse.transaction(lambda con: con.execute("DELETE FROM lake.contexts WHERE seed = 0"))
        with pytest.raises(EvoError, match="the warehouse holds 2 of them"):
            export_version(warehouse, version, tmp_path / "out")
        with pytest.raises(EvoError, match="rows per file is 0"):
            export_version(warehouse, version, tmp_path / "out", rows_a_file=0)
    assert [p.name for p in tmp_path.iterdir()] == ["home"]


@pytest.mark.slow
def test_a_killed_export_leaves_no_half_folder(world: Any, home: Path, tmp_path: Path) -> None:
    folder = exported(home, tmp_path / "out")
    before = world.files(folder)
    script = (
        "import os, signal, sys; from pathlib import Path; from evoembedding import Warehouse\n"
        "from evoembedding.warehouse.exchange.export import export_version\n"
        "from evoembedding.warehouse.datasets.versions import resolve\n"
        "with Warehouse.open(Path(sys.argv[1])) as w:\n"
        "  export_version(w, resolve(w, 'odd'), Path(sys.argv[2]), 'jsonl', force=True,\n"
        "                 progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))"
    )
    for target in ("out", "new"):
        words = [sys.executable, "-c", script, str(home), str(tmp_path / target)]
        killed = subprocess.run(words, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
        assert killed.returncode == -signal.SIGKILL
    assert world.files(folder) == before
    assert not (tmp_path / "new").exists()
    exported(home, folder, form="jsonl", force=True)
    assert all(name.endswith(".jsonl") for name in world.files(folder))


def test_an_export_is_of_its_version_alone(world: Any, tmp_path: Path) -> None:
    version = world.published(tmp_path / "home", TOLD[:3])
    before = world.files(exported(tmp_path / "home", tmp_path / "a"))
    with Warehouse.open(tmp_path / "home") as warehouse:
        world.fill(warehouse, [*TOLD[:3], ([("new", ""), ("y", "")], [("new?", "y", (0,))])])
        newer = publish(warehouse, "odd", "{}", "", EpisodeFilter())
        assert isinstance(newer, DatasetVersion)
        assert newer.number == 2
        export_version(warehouse, version, tmp_path / "b")
    assert world.files(tmp_path / "b") == before

"""Decontamination: which texts count as a benchmark's, in which files, and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from evoembedding.schemas.errors import EvoError
from evoembedding.synth.curation.decontaminate import Benchmarks

LONG = "the quick brown fox jumps over the lazy dog and runs far away into the dark green forest"
SHORT = "where did the fox run to"


def write(path: Path) -> Path:
    rows = [{"id": 7, "turns": [{"text": LONG}], "qa": {"question": SHORT}}]
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    elif path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        path.write_text(LONG)
    return path


@pytest.mark.parametrize("name", ["b.json", "b.jsonl", "b.parquet", "b.txt", "b.md"])
def test_a_shared_run_is_found_in_every_kind_of_file(tmp_path: Path, name: str) -> None:
    found = Benchmarks([str(write(tmp_path / name))], words=9)
    texts = ["Well: The quick, brown fox JUMPS over the lazy dog!", "the quick brown fox jumps over the lazy cat", ""]
    assert found.shared(texts) == ["the quick brown fox jumps over the lazy dog", "", ""]
    if name not in ("b.txt", "b.md"):
        asked = ["Where did the fox run to?", "Where did the fox run to then?", LONG]
        assert found.shared(asked, whole=True) == [SHORT, "", "the quick brown fox jumps over the lazy dog"]
        assert found.shared(asked[:2]) == ["", ""]


def test_a_folder_is_all_its_files_and_the_digest_is_of_their_content(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    one = write(tmp_path / "deep" / "b.json")
    whole, alone = Benchmarks([str(tmp_path)], 8), Benchmarks([str(one)], 8)
    assert whole.digest == alone.digest
    assert whole.shared([LONG]) == ["the quick brown fox jumps over the lazy"]
    assert Benchmarks([str(one)], 9).digest != alone.digest
    write(tmp_path / "more.txt")
    assert Benchmarks([str(tmp_path)], 8).digest != alone.digest


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.json", None, "is not there"),
        ("b.exe", b"x", "is no .json"),
        ("b.json", b'{"a": ', "cannot be read"),
        ("b.jsonl", b'{"a": 1}\n{', "cannot be read"),
        ("b.parquet", b"PAR1", "cannot be read"),
        ("b.txt", b"\xff\xfe\xff", "cannot be read"),
        ("empty.txt", b"", "holds no text"),
        ("short.json", b'["too short"]', "holds no text"),
        ("", None, "is no .json"),
    ],
)
def test_a_benchmark_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvoError, match=says) as raised:
        Benchmarks([str(path)], 8)
    assert "nothing was published" in str(raised.value)
    assert "\n" not in str(raised.value)

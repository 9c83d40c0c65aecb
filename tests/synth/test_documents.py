"""Documents: what is read, what is refused with a sentence, and what is kept as a failure."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from schemas.dataset import Failure
from schemas.episode import Document
from schemas.errors import EvoError
from synth.documents import read_documents


def test_same_content_same_id_and_source_id_kept(tmp_path: Path) -> None:
    frame = pl.DataFrame({"document_id": ["pep-0001"], "title": ["T"], "text": ["body"], "license": ["CC0"]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ndjson(tmp_path / "b.jsonl")
    [a], [b] = (list(read_documents(str(tmp_path / name))) for name in ("a.parquet", "b.jsonl"))
    assert isinstance(a, Document)
    assert isinstance(b, Document)
    assert a.document_id == b.document_id
    assert (a.source_id, a.license) == ("pep-0001", "CC0")


def test_malformed_lines_are_reported_by_line_and_the_rest_kept(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(
        b'{"text": "one"}\n{"text": \n\n[1]\n{"text": 5}\n\xff\xfe\n{"text": "\\ud800"}\n{"text": "a\\u0000"}\n'
        + b"[" * 200_000
        + b'\n{"text": "two"}\n'
    )
    rows = list(read_documents(str(file)))
    assert [row.text for row in rows if isinstance(row, Document)] == ["one", "two"]
    assert [row.item for row in rows if isinstance(row, Failure)] == [f"d.jsonl:{n}" for n in (2, 4, 5, 6, 7, 8, 9)]


def test_folder_names_its_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.md").write_text("# Title\n\nBody")
    (tmp_path / "y.txt").write_text("Body")
    rows = [row for row in read_documents(str(tmp_path)) if isinstance(row, Document)]
    assert [(row.source_id, row.title) for row in rows] == [("sub/x.md", "Title"), ("y.txt", "Body")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"", "is empty"),
        ("a.jsonl", b"", "is empty"),
        ("a.txt", b" \n", "only white space"),
        ("a.txt", b"x\0y", "holds a NUL"),
        ("a.txt", b"caf\xe9", "not valid UTF-8 .* offset 3"),
        ("a.parquet", b"PAR1 no", "not a readable Parquet"),
        ("a.doc", b"x", "ends in '.doc'"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EvoError, match=says):
        list(read_documents(str(tmp_path / name)))


@pytest.mark.parametrize("frame", [pl.DataFrame({"body": ["x"]}), pl.DataFrame({"text": [1]})])
def test_parquet_without_a_text_column(tmp_path: Path, frame: pl.DataFrame) -> None:
    frame.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(EvoError, match="no text column"):
        list(read_documents(str(tmp_path / "a.parquet")))


def test_missing_and_empty_folder(tmp_path: Path) -> None:
    for source in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(EvoError):
            list(read_documents(str(source)))

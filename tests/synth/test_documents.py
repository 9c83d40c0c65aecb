"""Documents: what is read, what of it is made clean, and what is kept as a failure while the rest is read."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evoembedding.schemas.dataset import Failure
from evoembedding.schemas.episode import Document
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.text import clean
from evoembedding.synth.documents import open_source, read_documents, unread_kinds

BODY = "The ferry leaves the harbour at nine.\n"


def read(source: Path, license: str = "") -> tuple[list[Document], list[Failure]]:
    rows = list(read_documents(str(source), license))
    return [r for r in rows if isinstance(r, Document)], [r for r in rows if isinstance(r, Failure)]


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_same_content_same_id_and_source_id_kept(tmp_path: Path) -> None:
    frame = pl.DataFrame({"document_id": ["pep-0001"], "title": ["T"], "text": ["body"], "license": ["CC0"]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ndjson(tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress((tmp_path / "b.jsonl").read_bytes()))
    for name in ("a.parquet", "b.jsonl", "c.jsonl.gz"):
        [one], failed = read(tmp_path / name)
        assert not failed
        assert (one.document_id, one.source_id, one.license) == ("doc-75a45b958970315cc0c8", "pep-0001", "CC0")


def test_malformed_lines_are_reported_by_line_and_the_rest_kept(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(
        b'{"text": "one"}\n{"text": \n\n[1]\n{"text": 5}\n\xff\xfe\n{"text": "\\ud800"}\n{"text": "a\\u0000"}\n'
        + b"[" * 200_000
        + b'\n{"text": "x", "id": '
        + b"1" * 5000
        + b'}\n{"text": \0\n{"text": "two"}\n'
    )
    documents, failed = read(file)
    assert [row.text for row in documents] == ["one", "two"]
    assert [row.item for row in failed] == [f"d.jsonl:{n}" for n in (2, 4, 5, 6, 7, 8, 9, 10, 11)]
    assert not any("\0" in row.payload for row in failed)


@pytest.mark.parametrize("column", ["text", "title", "uri", "license", "id", "source_id"])
@pytest.mark.parametrize("value", ["a\ud800b", "a\0b", ["a"], {"a": 1}, True])
def test_a_field_that_cannot_be_stored_fails_its_row_alone(tmp_path: Path, column: str, value: object) -> None:
    (tmp_path / "d.jsonl").write_text(lines({"text": "one"}, {"text": "bad", column: value}, {"text": "two"}))
    documents, [failed] = read(tmp_path / "d.jsonl")
    assert [row.text for row in documents] == ["one", "two"]
    assert failed.item == "d.jsonl:2"
    assert column in failed.reason
    failed.model_dump_json()


def test_a_string_of_parquet_that_is_no_utf8_fails_its_row_alone(tmp_path: Path) -> None:
    for column in ("text", "title"):
        table = {c: pa.array([b"one", b"caf\xe9" if c == column else b"bad", b"two"]) for c in ("text", "title")}
        pq.write_table(
            pa.table(table).cast(pa.schema([(c, pa.string()) for c in table]), safe=False), tmp_path / "a.parquet"
        )
        documents, [failed] = read(tmp_path / "a.parquet")
        assert [row.text for row in documents] == ["one", "two"]
        assert (failed.item, f"'{column}' is not valid UTF-8" in failed.reason) == ("a.parquet:1", True)


def test_text_is_the_same_however_it_was_saved(tmp_path: Path) -> None:
    forms = (
        BODY,
        BODY.strip(),
        BODY + "\n\n",
        "\ufeff" + BODY,
        BODY.replace("\n", "\r\n"),
        "\ufeff" + BODY.replace("\n", "\r"),
        "\ufeff\ufeff" + BODY,
    )
    seen = set()
    for number, text in enumerate(forms):
        (tmp_path / f"{number}.txt").write_text(text, newline="")
        seen |= {row.document_id for row in read(tmp_path / f"{number}.txt")[0]}
        if text.strip("\ufeff\r\n") + "\n" == clean(text):
            (tmp_path / f"{number}.jsonl").write_text(lines({"title": BODY.strip(), "text": text}))
            seen |= {row.document_id for row in read(tmp_path / f"{number}.jsonl")[0]}
    assert len(seen) == 1


def test_a_byte_order_mark_costs_no_record(tmp_path: Path) -> None:
    for before in ("\ufeff", "\ufeff\ufeff"):
        (tmp_path / "d.jsonl").write_text(before + lines({"text": "one"}) + "\ufeff" + lines({"text": "two"}))
        documents, failed = read(tmp_path / "d.jsonl")
        assert ([row.text for row in documents], failed) == (["one", "two"], [])


def test_folder_names_its_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.md").write_text("# Title\n\nBody")
    (tmp_path / "y.txt").write_text("Body")
    documents, _ = read(tmp_path)
    assert [(row.source_id, row.title) for row in documents] == [("sub/x.md", "Title"), ("y.txt", "Body")]


ROWS = lines({"text": "one"}, {"text": "two"})
BAD = {
    "empty.txt": (b"", "is empty"),
    "empty.jsonl": (b"", "is empty"),
    "blank.jsonl": (b"\n \n", "no rows"),
    "white.txt": (b" \n", "no text"),
    "front.md": (b"---\ntitle: A\n---\n", "no text"),
    "nul.txt": (b"x\0y", "holds a NUL"),
    "latin.txt": (b"caf\xe9", "not valid UTF-8 .* offset 3"),
    "wide.txt": ("harbour".encode("utf-16"), "UTF-16"),
    "wide.md": ("# harbour".encode("utf-16-be"), "UTF-16"),
    "wide.jsonl": (ROWS.encode("utf-16"), "UTF-16"),
    "wide_without_mark.jsonl": (ROWS.encode("utf-16-le"), "UTF-16"),
    "wider.jsonl": (ROWS.encode("utf-32-be"), "UTF-32"),
    "unseen.txt": ("\u200b\u2060\n".encode(), "no text"),
    "._mac.txt": (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "AppleDouble"),
    "bad.parquet": (b"PAR1 no", "damaged"),
    "bad.jsonl.gz": (b"no gzip", "damaged"),
    "short.jsonl.gz": (gzip.compress(b'{"text": "x"}\n' * 9)[:-12], "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_failure_with_its_reason(tmp_path: Path, name: str) -> None:
    content, says = BAD[name]
    (tmp_path / name).write_bytes(content)
    _, [failed] = read(tmp_path / name)
    assert failed.item == name
    assert re.search(says, failed.reason)


def test_bad_files_keep_no_other_from_being_read(tmp_path: Path) -> None:
    for name, (content, _) in BAD.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "a.txt").write_text("Alpha\n" + BODY)
    (tmp_path / "z.md").write_text("# Omega\n" + BODY)
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nowhere")
    documents, failed = read(tmp_path)
    assert {"Alpha", "Omega"} <= {row.title for row in documents}
    assert {row.item for row in failed} == {*BAD, "broken.txt"}


@pytest.mark.parametrize("frame", [pl.DataFrame({"body": ["x"]}), pl.DataFrame({"text": [1]})])
def test_parquet_without_a_text_column(tmp_path: Path, frame: pl.DataFrame) -> None:
    frame.write_parquet(tmp_path / "a.parquet")
    _, [failed] = read(tmp_path / "a.parquet")
    assert "no text column" in failed.reason


def test_other_kinds_are_named_and_endings_have_no_case(tmp_path: Path) -> None:
    for name in ("A.TXT", "b.Md", "c.markdown", "d.pdf", "e.csv", "f.csv", "README", ".DS_Store"):
        (tmp_path / name).write_text("Body")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "round").symlink_to(tmp_path)
    source = open_source(str(tmp_path))
    assert [name for _, name in source.files] == ["A.TXT", "b.Md", "c.markdown"]
    assert set(source.unread) == {"d.pdf", "e.csv", "f.csv", "README", ".DS_Store", "pipe.txt", "round"}
    assert "2 .csv (e.csv, f.csv), 1 .pdf (d.pdf)" in unread_kinds(source.unread)


@pytest.mark.parametrize("name", ["data[2024]", "notes*", "who?", "100%25", "a{b,c}", "~", "$HOME", " b", "né"])
def test_a_name_is_one_file_and_no_pattern(tmp_path: Path, name: str) -> None:
    for other in ("data2", "notes1", "whom", "ab"):
        pl.DataFrame({"text": ["another"]}).write_parquet(tmp_path / f"{other}.parquet")
    pl.DataFrame({"text": ["this"]}).write_parquet(tmp_path / f"{name}.parquet")
    (tmp_path / f"{name}.txt").write_text("this")
    for ending in ("parquet", "txt"):
        [one], failed = read(tmp_path / f"{name}.{ending}")
        assert (one.text.strip(), one.source_id.partition(":")[0], failed) == ("this", f"{name}.{ending}", [])


def test_a_name_that_is_no_utf8_is_written_with_escapes(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    file.write_text(BODY)
    for source in (tmp_path, file):
        [one], _ = read(source)
        assert (one.source_id, one.uri) == (r"caf\xe9.txt",) * 2


@pytest.mark.parametrize("name", ["none.txt", "", " ", "x" * 5000, "a\0b", "owner/name/more"])
def test_what_is_not_there_is_one_sentence(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EvoError, match="nothing was ingested"):
        open_source(name)


def test_a_folder_without_a_readable_file_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(EvoError, match="nothing would be ingested"):
        open_source(str(tmp_path))
    (tmp_path / "a.pdf").write_text("x")
    with pytest.raises(EvoError, match=r"it has 1 \.pdf"):
        open_source(str(tmp_path))


def test_a_licence_is_that_of_documents_which_carry_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Body")
    (tmp_path / "b.md").write_text("---\nlicense: CC0\n---\nBody")
    (tmp_path / "c.jsonl").write_text(lines({"text": "one"}, {"text": "two", "license": "MIT"}))
    assert [row.license for row in read(tmp_path, "CC-BY-4.0")[0]] == ["CC-BY-4.0", "CC0", "CC-BY-4.0", "MIT"]
    assert [row.license for row in read(tmp_path)[0]] == ["unknown", "CC0", "unknown", "MIT"]

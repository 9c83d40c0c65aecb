"""Read documents from txt, md, rst, jsonl and Parquet files, folders of them, or a Hugging Face dataset id.

Nothing is skipped silently: what cannot be read becomes a `Failure` with its file, line and reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from schemas.dataset import Failure
from schemas.episode import Document
from schemas.errors import EvoError
from schemas.ids import content_id

TEXT_SUFFIXES = (".txt", ".md", ".rst")
SUFFIXES = (*TEXT_SUFFIXES, ".jsonl", ".parquet")
# The columns a table may name its text's own id with, in order of preference.
ID_COLUMNS = ("source_id", "document_id", "id")


def document(source_id: str, text: str, title: str = "", uri: str = "", license: str = "unknown") -> Document:
    """A document whose id is a hash of its title and text."""
    identity = content_id("doc", {"title": title or source_id, "text": text})
    return Document(
        document_id=identity, source_id=source_id, title=title or source_id, uri=uri, license=license, text=text
    )


def failure(item: str, reason: str, payload: str = "") -> Failure:
    """A rejected input; the payload keeps its first 2,000 characters."""
    payload = payload[:2000]
    identity = content_id("fail", {"stage": "ingest", "item": item, "reason": reason, "payload": payload})
    return Failure(failure_id=identity, stage="ingest", item=item, reason=reason, payload=payload, attempts=1)


def read_documents(source: str) -> Iterator[Document | Failure]:
    """Yield the documents of a file, a folder or a Hugging Face dataset id (`owner/name`), and what failed.

    Raises:
        EvoError: the source is missing, of an unknown kind, or holds no documents at all by its layout.
    """
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
        if not files:
            raise EvoError(
                f"folder '{source}' has no {', '.join(SUFFIXES)} file; nothing would be ingested; name another"
            )
        for file in files:
            yield from _read_file(file, file.relative_to(path).as_posix())
    elif path.is_file():
        yield from _read_file(path, path.name)
    elif source.count("/") == 1 and not path.is_absolute() and not path.suffix:
        yield from _read_hub(source)
    else:
        raise EvoError(
            f"'{source}' does not exist; nothing was ingested; give a file, a folder or a dataset id owner/name"
        )


def _read_file(path: Path, name: str) -> Iterator[Document | Failure]:
    if path.stat().st_size == 0:
        raise EvoError(f"'{name}' is empty (0 bytes); it holds no document; remove it or give a file with text")
    if path.suffix in TEXT_SUFFIXES:
        yield _read_text(path, name)
    elif path.suffix == ".jsonl":
        yield from _read_jsonl(path, name)
    elif path.suffix == ".parquet":
        yield from _read_parquet(path, name)
    else:
        raise EvoError(
            f"'{name}' ends in '{path.suffix}'; documents are read from {', '.join(SUFFIXES)}; convert it first"
        )


def _read_text(path: Path, name: str) -> Document:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise EvoError(
            f"'{name}' is not valid UTF-8 (byte 0x{error.object[error.start]:02x} at offset {error.start}); "
            "its text would be damaged; convert it, for example with iconv -t utf-8"
        ) from error
    if "\0" in text:
        raise EvoError(f"'{name}' holds a NUL character, as binary data does; it cannot be stored; give a file of text")
    if not text.strip():
        raise EvoError(f"'{name}' holds only white space; it holds no document; remove it or give a file with text")
    title = next(line.strip("# ").strip() for line in text.splitlines() if line.strip("# ").strip())
    return document(name, text, title=title[:200], uri=name)


def _read_jsonl(path: Path, name: str) -> Iterator[Document | Failure]:
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            item = f"{name}:{number}"
            try:
                row = json.loads(raw.decode("utf-8"))
            except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
                yield failure(item, f"malformed JSON: {error}", raw.decode("utf-8", "replace"))
                continue
            yield _from_row(row, item)


def _read_parquet(path: Path, name: str) -> Iterator[Document | Failure]:
    try:
        table = pl.scan_parquet(path)
        columns = table.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise EvoError(
            f"'{name}' is not a readable Parquet file ({error}); nothing was ingested; write it again"
        ) from error
    if columns.get("text") != pl.String:
        held = ", ".join(columns) or "none"
        raise EvoError(f"'{name}' has no text column of strings (columns: {held}); rename the one that holds the text")
    try:
        for offset, row in enumerate(table.collect().iter_rows(named=True)):
            yield _from_row(row, f"{name}:{offset}")
    except pl.exceptions.PolarsError as error:
        raise EvoError(f"'{name}' is damaged ({error}); write it again, then rerun: what was read is kept") from error


def _read_hub(name: str) -> Iterator[Document | Failure]:
    from datasets import load_dataset

    try:
        rows = load_dataset(name, split="train", streaming=True)
        for offset, row in enumerate(rows):
            yield _from_row(dict(row), f"{name}:{offset}")
    except Exception as error:  # the hub client raises many kinds; each means that the source cannot be read
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EvoError(
            f"'{name}' is neither a file nor a readable dataset ({reason}); check the path, the id or the network"
        ) from error


def _from_row(row: object, item: str) -> Document | Failure:
    if not isinstance(row, dict):
        return failure(item, f"expected an object, found {type(row).__name__}", repr(row))
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        return failure(item, f"no text: 'text' is {type(text).__name__} and must be a non-empty string", repr(row))
    if "\0" in text:
        return failure(
            item, "text holds a NUL character, as binary data does; the warehouse cannot store it", repr(text)
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return failure(item, "text holds a lone surrogate, which UTF-8 cannot store", repr(text))
    source_id = next((str(row[c]) for c in ID_COLUMNS if row.get(c) not in (None, "")), item)
    named = {c: str(row[c]) for c in ("title", "uri", "license") if row.get(c)}
    return document(source_id, text, **named)

"""Files as documents: a reader a kind. A file that cannot be read is a failure, and keeps no other from being read."""

from __future__ import annotations

import gzip
import json
import os
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from evoembedding.schemas.dataset import Failure
from evoembedding.schemas.episode import Document
from evoembedding.schemas.files import bounded_lines
from evoembedding.schemas.text import BOM, blank, clean
from evoembedding.synth.documents.rows import COLUMNS, PAYLOAD, document, failure, from_row
from evoembedding.synth.documents.titles import Page, markdown, plain, restructured

LONGEST = 64 * 2**20  # bytes of a text or a row: a longer one is data of another kind
ROWS_A_READ = 200  # of a Parquet file
APPLE_DOUBLE = b"\x00\x05\x16\x07"  # what macOS keeps beside a file on disks of others, named like it
UTF16 = (b"\xff\xfe", b"\xfe\xff")
ZEROS = (b"\1\0\1\0", b"\0\1\0\1", b"\1\0\0\0", b"\0\0\0\1")  # where they stand without a mark
CONVERT = "convert it, for example with iconv -t utf-8"
_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)

Row = Document | Failure
Reader = Callable[[Path, str, str], Iterator[Row]]


def name_of(path: Path) -> str:
    """A path as a name that can be stored: composed Unicode, and bytes that are no UTF-8 as escapes."""
    raw = os.fsencode(path.as_posix())
    return unicodedata.normalize("NFC", raw.decode("utf-8", "backslashreplace"))


def ending(path: Path) -> str:
    """What a file's name ends in, as readers are found by it: lower case, with what was packed inside."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == ".gz" else last


def read_file(path: Path, name: str, license: str = "") -> Iterator[Row]:
    """The documents of a file with an ending of `SUFFIXES`, and what failed."""
    rows = 0
    try:
        if path.stat().st_size == 0:
            raise ValueError("the file is empty (0 bytes)")
        for row in READERS[ending(path)](path, name, license):
            rows += 1
            yield row
        if not rows:
            raise ValueError("the file holds no rows")
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        kept = f"; its first {rows} rows were read" if rows else ""
        yield failure(name, f"the file is damaged or cannot be read ({reason[:300]}){kept}")
    except ValueError as error:  # Arrow's are some, too
        yield failure(name, str(error))


def _text(page: Callable[[str], Page]) -> Reader:
    def read(path: Path, name: str, license: str) -> Iterator[Row]:
        with path.open("rb") as file:
            # One more than may be: a longer file is met without reading it all.
            raw = file.read(LONGEST + 1)
        if len(raw) > LONGEST:
            raise ValueError(f"the file is longer than {LONGEST >> 20} MiB, and would be one document; split it")
        found = page(clean(_decoded(raw)))
        if blank(found.text):
            raise ValueError("the file holds no text")
        text = found.text.rstrip() + "\n"  # whether a last line ends is the editor's choice, and no other text
        yield document(name, text, title=clean(found.title), uri=name, license=clean(found.license) or license)

    return read


def _decoded(raw: bytes) -> str:
    if raw.startswith(APPLE_DOUBLE):
        raise ValueError("the file is what macOS keeps beside another one (AppleDouble), and holds no text")
    _not_wide(raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{_not_utf8(error, 'the file')} but another encoding; {CONVERT}") from None


def _not_wide(start: bytes) -> None:
    """A text of UTF-16 or UTF-32 begins with a mark, or has zeros beside its first letters."""
    if start.startswith(UTF16) or bytes(map(bool, start[:4])) in ZEROS:
        raise ValueError(f"the file is not UTF-8 but UTF-16 or UTF-32; {CONVERT}")


def _not_utf8(error: UnicodeDecodeError, what: str) -> str:
    return f"{what} is not valid UTF-8 (byte 0x{error.object[error.start]:02x} at offset {error.start})"


def _json_lines(path: Path, name: str, license: str) -> Iterator[Row]:
    packed = ending(path).endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as file:
        for number, raw in bounded_lines(cast("IO[bytes]", file), LONGEST):
            item = f"{name}:{number}"
            if number == 1:
                _not_wide(raw)
            if len(raw) > LONGEST:
                payload = raw[:PAYLOAD].decode("utf-8", "replace")
                yield failure(item, f"the row is longer than {LONGEST >> 20} MiB", payload)
            elif raw.strip():
                yield _from_json(raw, item, license)


def _from_json(raw: bytes, item: str, license: str) -> Row:
    payload = raw[: 4 * PAYLOAD].decode("utf-8", "replace")
    try:
        row = json.loads(raw.decode("utf-8").lstrip(BOM))  # from bytes, it would guess at UTF-16
    except UnicodeDecodeError as error:
        return failure(item, f"{_not_utf8(error, 'the line')}; {CONVERT}", payload)
    except RecursionError:
        return failure(item, "malformed JSON: nested too deep", payload)
    except ValueError as error:  # a number of 5,000 digits as well
        return failure(item, f"malformed JSON: {error}", payload)
    return from_row(row, item, license, payload)


def _parquet(path: Path, name: str, license: str) -> Iterator[Row]:
    with path.open("rb") as handle, pq.ParquetFile(handle) as file:  # by its handle: a name is no pattern
        schema = file.schema_arrow
        if "text" not in schema.names or not any(is_a(schema.field("text").type) for is_a in _STRINGS):
            held = ", ".join(schema.names)[:300] or "none"
            raise ValueError(f"the file has no text column of strings (columns: {held}); rename the one that holds it")
        offset = 0
        columns = [column for column in COLUMNS if column in schema.names]
        for batch in file.iter_batches(ROWS_A_READ, columns=columns):
            for row in _rows(batch):
                yield from_row(row, f"{name}:{offset}", license)
                offset += 1


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """A batch's rows. Strings are read as bytes: one that is no UTF-8 would cost the others."""
    columns = [_bytes(column) for column in batch.columns]
    names = batch.schema.names
    for values in zip(*columns, strict=True):
        yield dict(zip(names, map(_decoded_or_not, values), strict=True))


def _decoded_or_not(value: object) -> object:
    try:
        return value.decode("utf-8") if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def _bytes(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if any(is_a(kind) for is_a in _STRINGS):
        column = column.cast(pa.large_binary() if pa.types.is_large_string(kind) else pa.binary())
    values: list[Any] = column.to_pylist()
    return values


READERS: dict[str, Reader] = {
    ".txt": _text(plain),
    ".md": _text(markdown),
    ".markdown": _text(markdown),
    ".rst": _text(restructured),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".jsonl.gz": _json_lines,
    ".parquet": _parquet,
}
SUFFIXES = tuple(READERS)

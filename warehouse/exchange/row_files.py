"""Rows in Parquet or JSON lines files of a given number of rows, written as they come.

Arrow tables come in; finished files go out, each with its rows, bytes and digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from evoembedding.schemas.exchange import ExportFile, Format
from evoembedding.schemas.files import file_digest

ROWS_A_GROUP = 1000  # of a Parquet file: about 20 MB of text where contexts have 1.3 K tokens


class _Writer(Protocol):
    def write(self, rows: pa.Table) -> None: ...

    def close(self) -> None: ...


class _ParquetWriter:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, rows: pa.Table) -> None:
        self._file.write_table(rows, row_group_size=ROWS_A_GROUP)

    def close(self) -> None:
        self._file.close()


class _JsonWriter:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = path.open("wb")
        self._con = duckdb.connect()

    def write(self, rows: pa.Table) -> None:
        lines = self._con.from_arrow(rows).query("rows", "SELECT to_json(rows)::VARCHAR FROM rows").fetchall()
        self._file.write("".join(f"{line}\n" for (line,) in lines).encode())

    def close(self) -> None:
        self._con.close()
        self._file.close()


WRITERS: dict[Format, type[_ParquetWriter] | type[_JsonWriter]] = {"parquet": _ParquetWriter, "jsonl": _JsonWriter}


def write_rows(
    tables: Iterable[pa.Table], folder: Path, names: Iterable[str], form: Format, rows_a_file: int
) -> Iterator[tuple[ExportFile, pa.Schema]]:
    """Write tables of one schema, in order, to the files `names`, `rows_a_file` each but for the last.

    Yields each finished file with the schema.
    """
    left, name, held = (table for table in tables if table.num_rows), iter(names), pa.table({})
    while held.num_rows or (held := next(left, pa.table({}))).num_rows:
        path, schema, written = folder / next(name), held.schema, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with _closing(WRITERS[form](path, schema)) as writer:
            while held.num_rows and written < rows_a_file:
                part, held = held[: rows_a_file - written], held[rows_a_file - written :]
                writer.write(part)
                written += part.num_rows
                if not held.num_rows:
                    held = next(left, held)
        size, digest = path.stat().st_size, file_digest(path)
        yield ExportFile(name=str(path.relative_to(folder)), rows=written, bytes=size, blake2b=digest), schema


@contextmanager
def _closing(writer: _Writer) -> Iterator[_Writer]:
    try:
        yield writer
    finally:
        writer.close()

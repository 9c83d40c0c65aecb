"""Sorted runs and their merge: rows as wide as token lists in order of their length, few of them in memory.

DuckDB's own sort of such rows fails at its memory limit, though it spills (seen at 120,000 contexts of 1,300 tokens).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from errno import ENOSPC
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow.parquet as pq

from evoembedding.schemas.arrow import polars_schema
from evoembedding.schemas.files import is_full
from evoembedding.schemas.shard import ShardRow

KEY = ("segments", "tokens", "context_id")
ROWS_A_GROUP = 64  # of each run so many are held at once


def write_run(rows: pl.DataFrame, path: Path) -> None:
    """Shard rows as a Parquet file in the order of `KEY`."""
    write_parquet(rows.sort(KEY), path, "lz4", ROWS_A_GROUP)


def write_parquet(rows: pl.DataFrame, path: Path, compression: Literal["lz4", "zstd"], rows_a_group: int) -> None:
    """Write rows as a Parquet file.

    Raises:
        OSError: the disk is full.
    """
    try:
        rows.write_parquet(path, compression=compression, row_group_size=rows_a_group)
    except pl.exceptions.ComputeError as error:  # what Polars makes of a disk that fills up
        if not is_full(path.parent):
            raise
        raise OSError(ENOSPC, os.strerror(ENOSPC), str(path)) from error


def merged(runs: Sequence[Path], size: int) -> Iterator[pl.DataFrame]:
    """All rows of the runs in the order of `KEY`, `size` at a time; memory holds a row group a run, and the keys."""
    readers = [_Run(path) for path in runs]
    keys = [
        pl.read_parquet(path, columns=list(KEY), glob=False).with_columns(run=pl.lit(n)) for n, path in enumerate(runs)
    ]
    order = pl.concat(keys).sort(KEY)["run"] if keys else pl.Series("run", [], dtype=pl.Int32)
    for start in range(0, len(order), size):
        # What falls into these ranks is, of each run, the rows that come next.
        counts = order[start : start + size].value_counts()
        yield pl.concat([readers[run].take(count) for run, count in counts.iter_rows()]).sort(KEY)


class _Run:
    """Reads a run from its start, a row group at a time. Its file is open only while it is read: runs may be many."""

    def __init__(self, path: Path) -> None:
        self._path, self._group = path, 0
        self._held = pl.DataFrame(schema=polars_schema(ShardRow))

    def take(self, count: int) -> pl.DataFrame:
        """The next `count` rows."""
        parts = [self._held]
        while (held := sum(map(len, parts))) < count:
            with pq.ParquetFile(self._path) as file:
                parts.append(pl.DataFrame(file.read_row_group(self._group)).cast(self._held.schema))
            self._group += 1
        rows = pl.concat(parts)
        self._held = rows.tail(held - count)
        return rows.head(count)

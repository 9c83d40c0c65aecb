"""The rows of a shard set, read when they are asked for: in memory are only their lengths."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl

from evoembedding.warehouse.shards.shard_sets import read_manifest


class Rows:
    """A shard set that was checked before.

    Raises:
        EvoError: it has no manifest.
    """

    def __init__(self, path: Path) -> None:
        manifest = read_manifest(path)
        self._files = [path / file.name for file in manifest.files]
        self._ends = list(accumulate(file.rows for file in manifest.files))
        # The whole schedule follows from these; texts are read when their turn comes.
        columns = [pl.read_parquet(file, columns=["tokens"], glob=False)["tokens"] for file in self._files]
        self.tokens: list[int] = [count for column in columns for count in column.to_list()]

    def read(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of ascending indices that lie close together, as dictionaries of `schemas.shard.ShardRow`."""
        rows: list[dict[str, Any]] = []
        first = 0
        while first < len(indices):
            file = bisect_right(self._ends, indices[first])
            stop = bisect_right(indices, self._ends[file] - 1)
            start = self._ends[file - 1] if file else 0
            wanted = [index - start for index in indices[first:stop]]
            # One slice over all of them, since they lie close together: each would decode its row group anew.
            part = pl.scan_parquet(self._files[file], glob=False).slice(wanted[0], wanted[-1] + 1 - wanted[0]).collect()
            rows += part[[index - wanted[0] for index in wanted]].to_dicts()
            first = stop
        return rows

"""Near-duplicates: texts that share most of their word n-grams, found by MinHash and LSH.

Names and texts come in; the names to leave out, each with its twin, go out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rensa import RMinHash

from evoembedding.synth.curation.shingles import Words

VERSION = "deduplicate-3"
PERMUTATIONS = 128  # the estimate's standard error is about 0.04 at a similarity of 0.8
SEED = 42
RUN = 5  # words
SAME_DOCUMENT = 0.5  # Jaccard similarity from which on a text is another state of one, and no other document
MARGIN = 0.05  # candidates are sought from this far below the threshold, and then held against it
CROWD = 32  # texts of one bucket up to which all pairs are looked at; beyond, each with the first and the one before
PAIRS_A_LOOK = 100_000


def same_document(one: str, other: str) -> bool:
    """Whether one text is another state of the other: half of the runs of words that they have they share."""
    first, second = (set(Words.of([text]).shingles(RUN).hashes.tolist()) for text in (one, other))
    return bool(first) and len(first & second) >= SAME_DOCUMENT * len(first | second)


class Twin(NamedTuple):
    """An earlier text that another one nearly repeats, and their estimated Jaccard similarity."""

    name: str
    similarity: float


class NearDuplicates:
    """Finds the texts that an earlier kept text resembles; earlier means by name, in whatever order they are added.

    Sketches (512 bytes a text) are kept in a temporary file: memory holds names, and a band of hashes at a time.
    """

    def __init__(self, threshold: float, words: int) -> None:
        """`threshold` is a Jaccard similarity of sets of runs of `words` words."""
        self._threshold, self._words = threshold, words
        self._names: list[str] = []
        self._later: list[bool] = []
        self._file = tempfile.TemporaryFile(prefix="sketches-")  # noqa: SIM115  closed when collected

    def add(self, names: Sequence[str], texts: Sequence[str] | pl.Series, first: Collection[str] = ()) -> None:
        """Sketch texts; each name comes once. Those that are named among the `first` come before all others."""
        runs = Words.of(texts).shingles(self._words)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            runs.hashes, runs.offsets.astype(np.uint64), PERMUTATIONS, SEED
        )
        np.array(matrix.to_rows(), dtype=np.uint32).tofile(self._file)
        self._names += names
        self._later += [name not in first for name in names]

    def twins(self) -> dict[str, Twin]:
        """The texts to leave out, by name, each with the kept text that it resembles most."""
        if not self._names:
            return {}
        self._file.flush()
        sketches = np.memmap(self._file, dtype=np.uint32, mode="r").reshape(len(self._names), PERMUTATIONS)
        order = np.lexsort((np.array(self._names), np.array(self._later)))
        found: dict[int, dict[int, float]] = {}
        for earlier, later in self._candidates(sketches, order):
            shares = (sketches[order[earlier]] == sketches[order[later]]).mean(1)
            for i in np.flatnonzero(shares >= self._threshold):
                found.setdefault(int(later[i]), {})[int(earlier[i])] = float(shares[i])
        twins: dict[int, Twin] = {}
        for place in sorted(found):
            # A text that is left out itself leaves out no other.
            kept = {one: share for one, share in found[place].items() if one not in twins}
            if kept:
                best = max(kept, key=lambda one: (kept[one], -one))
                twins[place] = Twin(self._names[order[best]], kept[best])
        return {self._names[order[place]]: twin for place, twin in twins.items()}

    def _candidates(
        self, sketches: NDArray[np.uint32], order: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Pairs (earlier, later) of places in `order` that share a band, many at a time; some come again."""
        count = bands(self._threshold)
        rows = PERMUTATIONS // count
        for band in range(count):
            keys = _folded(sketches[:, band * rows : (band + 1) * rows])[order]
            sorted_by_key = np.argsort(keys, kind="stable")  # within a bucket by name
            edges = np.flatnonzero(np.diff(keys[sorted_by_key], prepend=keys[sorted_by_key[:1]] + 1))
            sizes = np.diff(np.append(edges, len(keys)))
            pairs: list[tuple[int, int]] = []
            for edge, size in zip(edges[sizes > 1], sizes[sizes > 1], strict=True):
                pairs += _pairs(sorted_by_key[edge : edge + size].tolist())
                if len(pairs) >= PAIRS_A_LOOK:
                    yield _columns(pairs)
                    pairs = []
            if pairs:
                yield _columns(pairs)


def bands(threshold: float) -> int:
    """The fewest LSH bands that find pairs a margin below the threshold more often than not."""
    choices = [2**n for n in range(PERMUTATIONS.bit_length())]
    found = [b for b in choices if (1 / b) ** (b / PERMUTATIONS) <= threshold - MARGIN]
    return min(found, default=PERMUTATIONS)


def _pairs(bucket: list[int]) -> list[tuple[int, int]]:
    if len(bucket) <= CROWD:
        return [(a, b) for n, a in enumerate(bucket) for b in bucket[n + 1 :]]
    return [*((bucket[0], other) for other in bucket[1:]), *pairwise(bucket)]


def _columns(pairs: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    table = np.array(pairs, dtype=np.int64)
    return table[:, 0], table[:, 1]


def _folded(columns: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """A 64-bit key a row."""
    key = np.zeros(len(columns), dtype=np.uint64)
    for column in columns.T:
        key = (key ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(32)
    return key

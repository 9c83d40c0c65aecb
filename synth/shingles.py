"""Word shingles of many texts at once, as 64-bit hashes: by them near-duplicates and leaks are found."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing
_SHIFT = np.uint64(29)


@dataclass(frozen=True)
class Words:
    """The lower-case words of N texts, one text after the other."""

    words: pl.Series  # [W] strings
    hashes: NDArray[np.uint64]  # [W]
    offsets: NDArray[np.int64]  # [N + 1] where each text begins

    @classmethod
    def of(cls, texts: Sequence[str] | pl.Series) -> Words:
        """Words are what Unicode calls so (`\\w+`): case and punctuation are not looked at."""
        split = pl.Series(texts, dtype=pl.String).str.to_lowercase().str.extract_all(r"\w+")
        lengths = split.list.len().to_numpy()
        words = split.filter(lengths > 0).explode()
        return cls(words, _hashes(words), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    def shingles(self, size: int) -> Shingles:
        """All runs of `size` words; of a text with fewer words the whole of it, of one without words nothing."""
        lengths = np.diff(self.offsets)
        counts = np.where(lengths > 0, np.maximum(1, lengths - size + 1), 0)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        begin = np.repeat(self.offsets[:-1] - offsets[:-1], counts) + np.arange(offsets[-1])
        end = np.repeat(self.offsets[1:], counts)
        hashes = np.zeros(len(begin), dtype=np.uint64)
        for n in range(size):
            place = begin + n
            inside = place < end
            following = self.hashes[np.minimum(place, len(self.hashes) - 1)] if len(begin) else hashes
            mixed = hashes * _FACTOR + following
            hashes = np.where(inside, mixed ^ (mixed >> _SHIFT), hashes)
        return Shingles(hashes, offsets, begin)

    def text(self, start: int, size: int, of: int) -> str:
        """The words of text `of` from place `start` on, at most `size` of them."""
        return " ".join(self.words[start : min(start + size, int(self.offsets[of + 1]))])


@dataclass(frozen=True)
class Shingles:
    """Hashes of the R shingles of N texts, text by text."""

    hashes: NDArray[np.uint64]  # [R]
    offsets: NDArray[np.int64]  # [N + 1]
    starts: NDArray[np.int64]  # [R] the place of a shingle's first word


def _hashes(words: pl.Series) -> NDArray[np.uint64]:
    """The same on every machine and under every version of a library: what is a duplicate may not depend on these."""
    different = words.unique()
    known = [int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little") for word in different]
    return words.replace_strict(different, pl.Series(known, dtype=pl.UInt64), return_dtype=pl.UInt64).to_numpy()

"""Word shingles of many texts at once, as 64-bit hashes: by them near-duplicates and leaks are found."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evoembedding.schemas.text import ALPHABETS, ALPHABETS_A_WORD, BRIEF, BRIEF_A_WORD, UNSPACED

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing
_SHIFT = np.uint64(29)
_WHOLE = BRIEF_A_WORD * ALPHABETS_A_WORD  # what a word between spaces weighs


@dataclass(frozen=True)
class Words:
    """The lower-case words of N texts, one text after the other.

    Of scripts that put no spaces between words each character is one, and weighs as much less as it is shorter.
    """

    words: pl.Series  # [W] strings
    hashes: NDArray[np.uint64]  # [W]
    offsets: NDArray[np.int64]  # [N + 1] where each text begins
    reach: NDArray[np.int64]  # [W + 1] what the words before weigh together; a whole word weighs `_WHOLE`

    @classmethod
    def of(cls, texts: Sequence[str] | pl.Series) -> Words:
        """Words are what Unicode calls so (`\\w+`): case and punctuation are not looked at."""
        lower = pl.Series(texts, dtype=pl.String).str.to_lowercase()
        spaced = not lower.str.contains(f"[{UNSPACED}]").any()
        split = lower.str.extract_all(r"\w+" if spaced else rf"[\w&&[^{UNSPACED}]]+|[{UNSPACED}]\p{{M}}*")
        lengths = split.list.len().to_numpy()
        words = split.filter(lengths > 0).explode()
        weights = np.full(len(words), _WHOLE, dtype=np.int64)
        if not spaced:
            weights[words.str.contains(f"^[{BRIEF}]").to_numpy()] = _WHOLE // BRIEF_A_WORD
            weights[words.str.contains(f"^[{ALPHABETS}]").to_numpy()] = _WHOLE // ALPHABETS_A_WORD
        return cls(words, _hashes(words), _sums(lengths), _sums(weights))

    @property
    def lengths(self) -> NDArray[np.float64]:
        """[N] how many words long each text is."""
        return np.diff(self.reach[self.offsets]) / _WHOLE

    def shingles(self, size: int) -> Shingles:
        """All runs as long as `size` words; of a shorter text the whole of it, of one without words nothing."""
        first, last = self.offsets[:-1], self.offsets[1:]
        # Where the last run of a text begins: the last place from which its words still weigh enough.
        latest = np.searchsorted(self.reach, self.reach[last] - size * _WHOLE, side="right") - 1
        counts = np.where(last > first, np.maximum(1, latest - first + 1), 0)
        offsets = _sums(counts)
        begin = np.repeat(first - offsets[:-1], counts) + np.arange(offsets[-1])
        end = np.minimum(np.searchsorted(self.reach, self.reach[begin] + size * _WHOLE), np.repeat(last, counts))
        hashes = np.zeros(len(begin), dtype=np.uint64)
        for n in range(int((end - begin).max(initial=0))):
            place = begin + n
            inside = place < end
            following = self.hashes[np.minimum(place, len(self.hashes) - 1)]
            mixed = hashes * _FACTOR + following
            hashes = np.where(inside, mixed ^ (mixed >> _SHIFT), hashes)
        return Shingles(hashes, offsets, begin)

    def text(self, start: int, size: int, of: int) -> str:
        """The words of text `of` from place `start` on, at most `size` of them."""
        end = int(np.searchsorted(self.reach, self.reach[start] + size * _WHOLE))
        return " ".join(self.words[start : min(end, int(self.offsets[of + 1]))])


@dataclass(frozen=True)
class Shingles:
    """Hashes of the R shingles of N texts, text by text."""

    hashes: NDArray[np.uint64]  # [R]
    offsets: NDArray[np.int64]  # [N + 1]
    starts: NDArray[np.int64]  # [R] the place of a shingle's first word


def _sums(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _hashes(words: pl.Series) -> NDArray[np.uint64]:
    """The same on every machine and under every version of a library: what is a duplicate may not depend on these."""
    different = words.unique()
    known = [int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little") for word in different]
    return words.replace_strict(different, pl.Series(known, dtype=pl.UInt64), return_dtype=pl.UInt64).to_numpy()

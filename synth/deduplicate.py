"""Near-duplicates: texts that share most of their word n-grams, found by MinHash and LSH."""

from __future__ import annotations

from typing import NamedTuple

from rensa import RMinHash, RMinHashLSH

from synth.text import runs

VERSION = "deduplicate-1"
PERMUTATIONS = 128  # the estimate's standard error is about 0.04 at a similarity of 0.8
SEED = 42
MARGIN = 0.05  # candidates are sought from this far below the threshold, and then held against it


class Twin(NamedTuple):
    """An earlier text that another one nearly repeats, and their estimated Jaccard similarity."""

    name: str
    similarity: float


class NearDuplicates:
    """Keeps the texts that no earlier kept text resembles. What it keeps depends on the order of the texts."""

    def __init__(self, threshold: float, words: int) -> None:
        """`threshold` is a Jaccard similarity of sets of runs of `words` words."""
        self._threshold, self._words = threshold, words
        self._lsh = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=bands(threshold))
        self._kept: list[tuple[str, RMinHash]] = []

    def twin(self, name: str, text: str) -> Twin | None:
        """The most similar kept text, if one is similar enough; without one, the text is kept under `name`."""
        sketch = RMinHash(num_perm=PERMUTATIONS, seed=SEED)
        sketch.update(list(runs(text, self._words)))
        near = [Twin(self._kept[i][0], sketch.jaccard(self._kept[i][1])) for i in sorted(self._lsh.query(sketch))]
        best = max(near, key=lambda twin: twin.similarity, default=None)
        if best is not None and best.similarity >= self._threshold:
            return best
        self._lsh.insert(len(self._kept), sketch)
        self._kept.append((name, sketch))
        return None


def bands(threshold: float) -> int:
    """The fewest LSH bands that find pairs a margin below the threshold more often than not."""
    choices = [2**n for n in range(PERMUTATIONS.bit_length())]
    found = [b for b in choices if (1 / b) ** (b / PERMUTATIONS) <= threshold - MARGIN]
    return min(found, default=PERMUTATIONS)

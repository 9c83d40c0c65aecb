"""Sample episodes as a page shows them: evidence marked, its neighbours beside it, all else folded away.

An episode with its context comes in; runs of segments, in sight or folded, go out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from evoembedding.schemas.episode import Episode
from evoembedding.warehouse.datasets.overview import Sample

BESIDE = 1  # segments shown before and after one of evidence
FOLDED = 40  # segments of a fold that the page holds
SHOWN, KEPT = 600, 6000  # characters of a text: in sight, and on the page at all


@dataclass(frozen=True)
class Text:
    """A text in pieces, of which the marked ones are the answer; then what is folded, and how much is left out."""

    pieces: tuple[tuple[str, bool], ...]
    rest: str = ""
    omitted: int = 0

    def __bool__(self) -> bool:
        return bool(self.pieces)


@dataclass(frozen=True)
class Shown:
    """A segment in sight; `index` is counted from 0."""

    index: int
    evidence: bool
    user: Text
    assistant: Text


@dataclass(frozen=True)
class Fold:
    """Segments `first` to `last`, of which `segments` are on the page."""

    first: int
    last: int
    segments: tuple[Shown, ...]

    @property
    def count(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class SampleView:
    """An episode with its context, as runs of segments in sight and of folded ones."""

    episode: Episode
    kind: str
    runs: tuple[Shown | Fold, ...]


def view(sample: Sample) -> SampleView:
    """What the page shows of a sample."""
    evidence = set(sample.episode.evidence)
    near = {i + shift for i in evidence for shift in range(-BESIDE, BESIDE + 1)}
    runs: list[Shown | Fold] = []
    start = 0
    total = len(sample.segments)
    while start < total:
        stop = start
        while stop < total and (stop in near) == (start in near):
            stop += 1
        # A fold of one segment would take as much room as the segment.
        if start in near or stop - start <= 1:
            runs += [_segment(sample, i, i in evidence) for i in range(start, stop)]
        else:
            kept = tuple(_segment(sample, i, False) for i in range(start, min(stop, start + FOLDED)))
            runs.append(Fold(start, stop - 1, kept))
        start = stop
    return SampleView(sample.episode, sample.kind, tuple(runs))


def _segment(sample: Sample, index: int, evidence: bool) -> Shown:
    segment, answer = sample.segments[index], sample.episode.answer if evidence else ""
    return Shown(index, evidence, text(segment.user, answer), text(segment.assistant, answer))


def text(whole: str, answer: str = "") -> Text:
    """A text with every occurrence of the answer marked, whatever its case."""
    if not whole:
        return Text(())
    # What is a little longer is in sight whole: few words would be left for the fold.
    cut = len(whole) if len(whole) <= SHOWN * 1.2 else SHOWN
    seen, rest = whole[:cut], whole[cut:KEPT]
    wanted = answer.strip()
    if not 1 < len(wanted) <= 200:
        return Text(((seen, False),), rest, max(0, len(whole) - max(cut, KEPT)))
    parts = re.split(rf"((?<!\w){re.escape(wanted)}(?!\w))", seen, flags=re.IGNORECASE)
    pieces = tuple((part, number % 2 == 1) for number, part in enumerate(parts) if part)
    return Text(pieces, rest, max(0, len(whole) - max(cut, KEPT)))

"""What builders read and make: a story sorted by what it tells, and the questions that it can answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from evoembedding.synth.simulator.world import Beat

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
Told = tuple[int, Beat]  # a beat and the index of its segment
Track = list[Told]  # every value of one attribute of one person, in order


class World(NamedTuple):
    """A told story: its beats, the same by kind, and the tracks by (name, attribute)."""

    beats: tuple[Beat, ...]
    kinds: Mapping[str, list[Told]]
    tracks: Mapping[tuple[str, str], Track]

    def told(self, kind: str) -> list[Told]:
        """The beats of a kind, in order."""
        return self.kinds.get(kind, [])

    def told_by(self, kind: str) -> dict[str, list[Told]]:
        """The beats of a kind by person, each in order."""
        found: dict[str, list[Told]] = defaultdict(list)
        for told in self.told(kind):
            found[told[1].name].append(told)
        return found


class Candidate(NamedTuple):
    """A question that the world can answer, not yet put into words."""

    answer: str
    evidence: tuple[int, ...]
    name: str = ""
    attribute: str = ""
    event: str = ""
    value: str = ""
    other: str = ""


class Builder(NamedTuple):
    """How a type is asked. Slots of a template: name, a (attribute), e (event), v (value), w (other value)."""

    candidates: Callable[[World], Iterator[Candidate]]
    templates: tuple[str, ...]


def world(beats: Sequence[Beat]) -> World:
    """The story sorted."""
    kinds: dict[str, list[Told]] = defaultdict(list)
    tracks: dict[tuple[str, str], Track] = defaultdict(list)
    for i, beat in enumerate(beats):
        kinds[beat.kind].append((i, beat))
        if beat.kind in ("set", "correct"):
            tracks[beat.name, beat.attribute].append((i, beat))
    return World(tuple(beats), kinds, tracks)


def value_of(told: Told) -> Candidate:
    """A question whose answer is the beat's value."""
    i, beat = told
    return Candidate(beat.value, (i,), beat.name, beat.attribute)


def indices(told: Sequence[Told]) -> tuple[int, ...]:
    """The segments of the beats, in order."""
    return tuple(sorted(i for i, _ in told))

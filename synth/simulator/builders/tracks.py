"""Questions about an attribute of a person: its one value, or the values it had one after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from evoembedding.synth.simulator.builders.told import NUMBERS, Builder, Candidate, Track, World, indices, value_of


def changing(world: World) -> Iterator[Track]:
    """Tracks of several values."""
    return (track for track in world.tracks.values() if len(track) > 1)


def uncorrected(track: Track) -> bool:
    """Nothing was taken back: where it was, how many values there were depends on who counts."""
    return all(beat.kind == "set" for _, beat in track)


def _stable_fact(world: World) -> Iterator[Candidate]:
    return (value_of(track[0]) for track in world.tracks.values() if len(track) == 1)


def _reverse_lookup(world: World) -> Iterator[Candidate]:
    for fact in _stable_fact(world):
        told = [b for b in world.beats if b.attribute == fact.attribute and fact.answer in (b.value, b.old)]
        if len(told) == 1:
            yield Candidate(fact.name, fact.evidence, attribute=fact.attribute, value=fact.answer)


def _latest(world: World) -> Iterator[Candidate]:
    return (value_of(track[-1]) for track in changing(world))


def _first(world: World) -> Iterator[Candidate]:
    return (value_of(track[0]) for track in changing(world))


def _order_second(world: World) -> Iterator[Candidate]:
    return (value_of(track[1]) for track in changing(world) if len(track) >= 3 and uncorrected(track))


def _previous(world: World) -> Iterator[Candidate]:
    return (value_of(track[-2]) for track in changing(world) if len(track) >= 3 and uncorrected(track))


def _middle(world: World) -> Iterator[Candidate]:
    for track in changing(world):
        for i in range(1, len(track) - 1):
            if uncorrected(track[i : i + 3]):
                left, asked, right = track[i - 1 : i + 2]
                found = value_of(asked)._replace(value=left[1].value, other=right[1].value)
                yield found._replace(evidence=indices((left, asked, right)))


def _successor(world: World) -> Iterator[Candidate]:
    for track in changing(world):
        for i in range(1, len(track)):
            # The next value must not be a correction, nor be corrected itself.
            if uncorrected(track[i : i + 2]):
                found = value_of(track[i])._replace(value=track[i - 1][1].value)
                yield found._replace(evidence=indices(track[i - 1 : i + 1]))


def _correction(world: World) -> Iterator[Candidate]:
    for track in changing(world):
        corrections = [told for told in track if told[1].kind == "correct"]
        yield from map(value_of, corrections[-1:])


def _misstatement(world: World) -> Iterator[Candidate]:
    for track in changing(world):
        corrections = [i for i, (_, beat) in enumerate(track) if beat.kind == "correct"]
        if len(corrections) == 1:
            wrong, right = track[corrections[0] - 1 : corrections[0] + 1]
            yield value_of(wrong)._replace(evidence=indices((wrong, right)))


def _frequency(world: World) -> Iterator[Candidate]:
    for track in changing(world):
        corrections = [told for told in track if told[1].kind == "correct"]
        if corrections:
            _, beat = track[0]
            yield Candidate(NUMBERS[len(corrections)], indices(corrections), beat.name, beat.attribute)


def _change_count(world: World) -> Iterator[Candidate]:
    for track in changing(world):
        if uncorrected(track):
            _, beat = track[0]
            yield Candidate(NUMBERS[len(track)], indices(track), beat.name, beat.attribute)


def _comparison(world: World) -> Iterator[Candidate]:
    for (one, track), (two, rival) in itertools.combinations(world.tracks.items(), 2):
        if one[1] == two[1] and len(track) != len(rival) and uncorrected(track + rival):
            more, _ = one if len(track) > len(rival) else two
            # In alphabetical order, so that the place in the question does not give the answer away.
            left, right = sorted((one[0], two[0]))
            yield Candidate(more, indices(track + rival), attribute=one[1], value=left, other=right)


STABLE_FACT = Builder(
    _stable_fact,
    (
        "What is {name}'s {a}?",
        "What is the {a} of {name}?",
        "Which {a} does {name} have?",
        "Which is the {a} of {name}?",
        "Can you tell me {name}'s {a}?",
    ),
)
REVERSE_LOOKUP = Builder(
    _reverse_lookup,
    (
        "Who has {v} as {a}?",
        "Whose {a} is {v}?",
        "Who is the person with {v} as {a}?",
        "Which person has {v} as {a}?",
        "For whom is {v} the {a}?",
    ),
)
LATEST = Builder(
    _latest,
    (
        "What is {name}'s {a} now?",
        "What is the latest {a} of {name}?",
        "Which {a} does {name} have now?",
        "What is now the latest {a} of {name}?",
        "What is the {a} of {name} at the moment?",
        "Which {a} does {name} have at present?",
        "As of now, which {a} does {name} have?",
        "At present, what is {name}'s {a} now?",
        "Tell me the {a} of {name} as of now.",
        "What {a} does {name} have these days?",
        "Which is the {a} of {name} at present?",
        "Which is {name}'s {a} as of now?",
    ),
)
FIRST = Builder(
    _first,
    (
        "What was {name}'s {a} at first?",
        "What was the first {a} of {name}?",
        "Which {a} did {name} have at first?",
        "At first, what was the {a} of {name}?",
        "Which {a} did {name} start with?",
        "What {a} did {name} have first of all?",
        "What was the original {a} of {name}?",
        "Which was the first {a} that {name} had?",
        "Tell me the first {a} of {name}.",
        "What {a} did {name} begin with?",
        "In the beginning, what was {name}'s {a}?",
        "In the beginning, which {a} did {name} have first?",
    ),
)
ORDER_SECOND = Builder(
    _order_second,
    (
        "What was the second {a} of {name}?",
        "Which {a} did {name} have second?",
        "After the first, what was the second {a} of {name}?",
        "Which was the second {a} that {name} had?",
        "What {a} of {name} came second?",
    ),
)
PREVIOUS = Builder(
    _previous,
    (
        "What was {name}'s {a} before the latest one?",
        "Which {a} of {name} did the latest one replace?",
        "What was the previous {a} of {name}?",
        "Which was the previous {a} that {name} had before the latest?",
        "Which {a} did {name} have last before now?",
    ),
)
MIDDLE = Builder(
    _middle,
    (
        "Which {a} did {name} have between {v} and {w}?",
        "Between {v} and {w}, what was {name}'s {a}?",
        "What was the {a} of {name} after {v} and before {w}?",
        "What came between {v} and {w} as {name}'s {a}?",
        "What {a} of {name} came after {v}, but before {w}?",
    ),
)
SUCCESSOR = Builder(
    _successor,
    (
        "What replaced {v} as {name}'s {a}?",
        "Which {a} did {name} have right after {v}?",
        "After {v}, what was {name}'s next {a}?",
        "Which {a} of {name} came right after {v}?",
        "From {v}, what did {name} switch to as {a}?",
    ),
)
CORRECTION = Builder(
    _correction,
    (
        "What was {name}'s {a} last corrected to?",
        "After I last corrected myself, what was the {a} of {name}?",
        "When I last misspoke about {name}'s {a}, what was right?",
        "When I last corrected the {a} of {name}, what was it corrected to?",
        "What did I last correct the {a} of {name} to?",
        "What {a} of {name} did I mean after my latest mistake?",
        "According to my latest correction, what was {name}'s {a}?",
        "After my latest correction, what was {name}'s {a}?",
        "What is the right {a} of {name}, as I last corrected it?",
        "I last corrected {name}'s {a} to what?",
        "Tell me what I last corrected the {a} of {name} to.",
        "Which {a} of {name} did I mean when I last corrected myself?",
    ),
)
MISSTATEMENT = Builder(
    _misstatement,
    (
        "Which {a} of {name} did I mention by mistake?",
        "What did I wrongly say that {name}'s {a} was?",
        "What was the wrong {a} that I gave for {name}?",
        "Which wrong {a} did I mention for {name}?",
        "When I misspoke about {name}'s {a}, what did I say?",
    ),
)
FREQUENCY = Builder(
    _frequency,
    (
        "How often did I correct myself about {name}'s {a}?",
        "How many times did I correct the {a} of {name}?",
        "How often did I have to correct {name}'s {a}?",
        "How many times did I correct myself about the {a} of {name}?",
        "How many corrections did I make to {name}'s {a}?",
    ),
)
CHANGE_COUNT = Builder(
    _change_count,
    (
        "How many different choices of {a} did {name} make?",
        "In all, how many different values has {name}'s {a} had?",
        "Count the different choices of {a} that {name} made.",
        "How many different values has the {a} of {name} had?",
        "How many choices did {name} make for the {a}?",
    ),
)
COMPARISON = Builder(
    _comparison,
    (
        "Whose {a} changed more often, {v}'s or {w}'s?",
        "Who changed the {a} more often, {v} or {w}?",
        "Of {v} and {w}, whose {a} changed more often?",
        "Of {v} and {w}, who changed the {a} more often?",
        "Did {v} or {w} make more choices of {a}?",
    ),
)

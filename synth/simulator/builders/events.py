"""Questions about an event, or about a value at the time of one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from evoembedding.synth.simulator.builders.told import Builder, Candidate, Told, Track, World, indices, value_of
from evoembedding.synth.simulator.builders.tracks import changing, uncorrected


def _around(world: World) -> Iterator[tuple[Told, Track, Track]]:
    """An event with the values before and after it. One corrected across the event has no clear side."""
    for track in changing(world):
        for event in world.told("event"):
            before = [told for told in track if told[0] < event[0]]
            after = [told for told in track if told[0] > event[0]]
            if before and uncorrected(after[:1]):
                yield event, before, after


def _before_event(world: World) -> Iterator[Candidate]:
    return (value_of(before[-1])._replace(event=event[1].value) for event, before, _ in _around(world))


def _after_event(world: World) -> Iterator[Candidate]:
    for event, _, after in _around(world):
        if after and uncorrected(after[:2]):
            yield value_of(after[0])._replace(event=event[1].value)


def _yes_no(world: World) -> Iterator[Candidate]:
    for event, before, after in _around(world):
        if uncorrected(after):
            shown = after[0] if after else before[-1]
            found = value_of(shown)._replace(answer="yes" if after else "no", event=event[1].value)
            yield found._replace(evidence=indices((event, shown)))


def _bridge(world: World) -> Iterator[Candidate]:
    for track in changing(world):
        for event in world.told("event"):
            if track[0][1].name == event[1].name:
                found = value_of(track[-1])._replace(name="", event=event[1].value)
                yield found._replace(evidence=indices((event, track[-1])))


def _event_order(world: World) -> Iterator[Candidate]:
    for one, two in itertools.combinations(world.told("event"), 2):
        # In alphabetical order, so that the place in the question does not give the answer away.
        left, right = sorted((one[1].value, two[1].value))
        yield Candidate(one[1].value, indices((one, two)), value=left, other=right)


def _participant(world: World) -> Iterator[Candidate]:
    return (Candidate(beat.name, (i,), event=beat.value) for i, beat in world.told("event"))


BEFORE_EVENT = Builder(
    _before_event,
    (
        "What was {name}'s {a} just before the {e}?",
        "Before the {e}, what was the {a} of {name}?",
        "Which {a} did {name} have right before the {e}?",
        "Just before the {e}, which {a} did {name} have?",
        "When the {e} came, which {a} did {name} have before it?",
        "What {a} had {name} before the {e}?",
        "What was the {a} of {name} before the {e} took place?",
        "Right before the {e}, what was {name}'s {a}?",
        "Until the {e}, what was {name}'s {a}?",
        "Tell me the {a} that {name} had before the {e}.",
        "What was {name}'s {a} when the {e} came?",
        "Until the {e} came, which {a} did {name} have?",
    ),
)
AFTER_EVENT = Builder(
    _after_event,
    (
        "What {a} did {name} get right after the {e}?",
        "After the {e}, what did {name}'s {a} become first?",
        "What was the next {a} of {name} after the {e}?",
        "What was {name}'s next {a} right after the {e}?",
        "Which {a} came next for {name} after the {e}?",
    ),
)
YES_NO = Builder(
    _yes_no,
    (
        "Did {name}'s {a} change after the {e}?",
        "Was there a new {a} for {name} after the {e}?",
        "Did {name} get another {a} after the {e}?",
        "Did the {a} of {name} change after the {e}?",
        "Has {name}'s {a} changed since the {e}?",
    ),
)
BRIDGE = Builder(
    _bridge,
    (
        "What is the {a} now of the person at the {e}?",
        "Which {a} does the person who went to the {e} have now?",
        "What is the latest {a} of whoever was at the {e}?",
        "What is now the {a} of the person who was at the {e}?",
        "Now which {a} has the person from the {e}?",
    ),
)
EVENT_ORDER = Builder(
    _event_order,
    (
        "Which came first, the {v} or the {w}?",
        "What happened earlier, the {v} or the {w}?",
        "Of the {v} and the {w}, which came first?",
        "Did the {v} or the {w} come first?",
        "Which was earlier, the {v} or the {w}?",
    ),
)
PARTICIPANT = Builder(
    _participant,
    (
        "Who was at the {e}?",
        "Who went to the {e}?",
        "Which person took part in the {e}?",
        "Which person was at the {e}?",
        "Who saw the {e}?",
    ),
)

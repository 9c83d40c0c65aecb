"""Questions about a told world, each with the only segments that answer it."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from schemas.episode import Split
from synth.simulator.fillers import SPLITS, partition
from synth.simulator.world import Beat
from synth.taxonomy import STATE_TYPES

STATE_SHARE = 2 / 3
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
QUESTIONS: dict[str, tuple[str, ...]] = {
    "latest": (
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
    "first": (
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
    "order_second": (
        "What was the second {a} of {name}?",
        "Which {a} did {name} have second?",
        "After the first, what was the second {a} of {name}?",
        "Which was the second {a} that {name} had?",
        "What {a} of {name} came second?",
    ),
    "before_event": (
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
    "after_event": (
        "What {a} did {name} get right after the {e}?",
        "After the {e}, what did {name}'s {a} become first?",
        "What was the next {a} of {name} after the {e}?",
        "What was {name}'s next {a} right after the {e}?",
        "Which {a} came next for {name} after the {e}?",
    ),
    "previous": (
        "What was {name}'s {a} before the latest one?",
        "Which {a} of {name} did the latest one replace?",
        "What was the previous {a} of {name}?",
        "Which was the previous {a} that {name} had before the latest?",
        "Which {a} did {name} have last before now?",
    ),
    "correction": (
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
    "cancellation": (
        "Which plan did {name} call off last?",
        "What did {name} cancel most recently?",
        "Which plan of {name} was called off last?",
        "What was the last plan that {name} called off?",
        "What was the last thing that {name} cancelled?",
        "What is the latest plan that {name} called off?",
        "Which plan did {name} drop last?",
        "Which was the last plan that {name} cancelled?",
    ),
    "original_plan": (
        "What was the first plan of {name}?",
        "What did {name} plan at first?",
        "Which plan did {name} make first?",
        "Which was the first plan that {name} made?",
        "What was {name}'s original plan?",
    ),
    "stable_fact": (
        "What is {name}'s {a}?",
        "What is the {a} of {name}?",
        "Which {a} does {name} have?",
        "Which is the {a} of {name}?",
        "Can you tell me {name}'s {a}?",
    ),
    "who_said": (
        "Who said the {a} is {v}?",
        "Who finds the {a} {v}?",
        "Which person said that the {a} is {v}?",
        "Who said that the {a} was {v}?",
        "According to whom is the {a} {v}?",
    ),
    "count": (
        "How many things did {name} donate to the fair?",
        "How many donations came from {name}?",
        "How many items did {name} give to the fair?",
        "How many donations did {name} give to the fair?",
        "Count the things that {name} gave to the fair.",
    ),
    "bridge": (
        "What is the {a} now of the person at the {e}?",
        "Which {a} does the person who went to the {e} have now?",
        "What is the latest {a} of whoever was at the {e}?",
        "What is now the {a} of the person who was at the {e}?",
        "Now which {a} has the person from the {e}?",
    ),
    "considered": (
        "Which {a} did {name} think about, but not choose?",
        "What {a} did {name} consider and decide against?",
        "Which {a} tempted {name} without a switch?",
        "Which {a} did {name} consider, but not choose?",
        "What did {name} look at as {a} and not take?",
    ),
    "suggestion": (
        "What did you suggest as {a} for {name}?",
        "Which {a} was your idea for {name}?",
        "What {a} did you propose for {name}?",
        "Which {a} did you suggest for {name}?",
        "What was your suggestion for {name}'s {a}?",
    ),
    "pronoun": (
        "What gift did {name} bring me?",
        "What did {name} give me as a gift?",
        "Which gift came from {name}?",
        "Which gift did {name} give me?",
        "What was the gift from {name}?",
    ),
    "nickname": (
        "What did {name} borrow from me?",
        "What did I lend to {name}?",
        "Which thing of mine does {name} have?",
        "Which thing did {name} borrow from me?",
        "What of mine did {name} take?",
    ),
}
_TEMPLATES = {(kind, split): partition(texts, split) for kind, texts in QUESTIONS.items() for split in SPLITS}


class Asked(NamedTuple):
    """A question with its answer and evidence indices."""

    type: str
    text: str
    answer: str
    evidence: tuple[int, ...]


class Candidate(NamedTuple):
    """A question that the world can answer, not yet put into words."""

    type: str
    answer: str
    evidence: tuple[int, ...]
    name: str = ""
    attribute: str = ""
    event: str = ""
    value: str = ""


Told = tuple[int, Beat]


def ask(rng: random.Random, split: Split, beats: Sequence[Beat], count: int) -> list[Asked]:
    """Up to `count` questions on different things, the types in balance and two in three about state."""
    pool: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates(beats):
        pool[candidate.type].append(candidate)
    for same in pool.values():
        rng.shuffle(same)
    used: Counter[str] = Counter()
    texts: set[str] = set()
    asked: list[Asked] = []
    while pool and len(asked) < count:
        kind = _next_type(rng, pool, used)
        candidate = pool[kind].pop()
        if not pool[kind]:
            del pool[kind]
        one = _word(rng, split, candidate)
        if one.text not in texts:
            texts.add(one.text)
            used[kind] += 1
            asked.append(one)
    return asked


def _next_type(rng: random.Random, pool: dict[str, list[Candidate]], used: Counter[str]) -> str:
    state = [kind for kind in pool if kind in STATE_TYPES]
    other = [kind for kind in pool if kind not in STATE_TYPES]
    kinds = (state or other) if rng.random() < STATE_SHARE else (other or state)
    least = min(used[kind] for kind in kinds)
    return rng.choice([kind for kind in kinds if used[kind] == least])


def _word(rng: random.Random, split: Split, c: Candidate) -> Asked:
    slots = {"name": c.name, "a": c.attribute, "e": c.event, "v": c.value}
    return Asked(c.type, rng.choice(_TEMPLATES[c.type, split]).format_map(slots), c.answer, c.evidence)


def candidates(beats: Sequence[Beat]) -> Iterator[Candidate]:
    """Every question with one right answer."""
    told: dict[str, list[Told]] = defaultdict(list)
    tracks: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for i, beat in enumerate(beats):
        told[beat.kind].append((i, beat))
        if beat.kind in ("set", "correct"):
            tracks[beat.name, beat.attribute].append((i, beat))
    for track in tracks.values():
        yield from _on_track(track)
        for event in told["event"]:
            yield from _around(track, event)
    yield from _on_plans(told)
    yield from _on_asides(told)


def _of(kind: str, told: Told) -> Candidate:
    i, beat = told
    return Candidate(kind, beat.value, (i,), beat.name, beat.attribute)


def _on_track(track: list[Told]) -> Iterator[Candidate]:
    if len(track) == 1:
        yield _of("stable_fact", track[0])
        return
    yield _of("latest", track[-1])
    yield _of("first", track[0])
    corrections = [told for told in track if told[1].kind == "correct"]
    if corrections:
        yield _of("correction", corrections[-1])
    if len(track) >= 3 and not corrections:
        yield _of("order_second", track[1])
        yield _of("previous", track[-2])


def _around(track: list[Told], event: Told) -> Iterator[Candidate]:
    """Questions anchored at an event. A value corrected across the event has no clear side and is not asked for."""
    if len(track) < 2:
        return
    at, happened = event
    before = [told for told in track if told[0] < at]
    after = [told for told in track if told[0] > at]
    clear = not after or after[0][1].kind == "set"
    if before and clear:
        yield _of("before_event", before[-1])._replace(event=happened.value)
    if before and after and clear and (len(after) == 1 or after[1][1].kind == "set"):
        yield _of("after_event", after[0])._replace(event=happened.value)
    if track[0][1].name == happened.name:
        i, last = track[-1]
        yield Candidate("bridge", last.value, tuple(sorted((at, i))), "", last.attribute, happened.value)


def _on_plans(told: dict[str, list[Told]]) -> Iterator[Candidate]:
    for name in sorted({beat.name for _, beat in told["plan"]}):
        plans = [one for one in told["plan"] if one[1].name == name]
        off = [one for one in told["off"] if one[1].name == name]
        if len(plans) > 1:
            yield _of("original_plan", plans[0])
        if off:
            yield _of("cancellation", off[-1])


def _on_asides(told: dict[str, list[Told]]) -> Iterator[Candidate]:
    for kind, asked in (("considered", "considered"), ("suggestion", "suggestion"), ("gift", "pronoun")):
        yield from (_of(asked, one) for one in told[kind])
    for i, beat in told["said"]:
        yield Candidate("who_said", beat.name, (i,), "", beat.attribute, "", beat.value)
    for (i, alias), (j, borrowed) in zip(told["nickname"], told["borrowed"], strict=True):
        yield Candidate("nickname", borrowed.value, (i, j), alias.name)
    donated = told["donated"]
    if donated:
        yield Candidate("count", NUMBERS[len(donated)], tuple(i for i, _ in donated), donated[0][1].name)

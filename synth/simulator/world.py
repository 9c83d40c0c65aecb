"""What happens in a simulated world: beats, of which each becomes one segment."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from evoembedding.schemas.episode import Split
from evoembedding.synth.simulator.fillers import ATTRIBUTES, fillers, values


class Beat(NamedTuple):
    """One thing told: its kind, the person, the attribute (or place, nickname), the value and the value it replaces."""

    kind: str
    name: str = ""
    attribute: str = ""
    value: str = ""
    old: str = ""


Block = tuple[Beat, ...]  # beats that stay next to each other
Thread = list[Block]  # blocks in order


class Cast(NamedTuple):
    """The world's people, and the attributes that change in it."""

    split: Split
    names: tuple[str, ...]
    attributes: tuple[str, ...]


def tell(rng: random.Random, split: Split, length: int) -> list[Beat]:
    """A story of exactly `length` beats."""
    cast = Cast(
        split, tuple(rng.sample(fillers("name", split), 4)), tuple(rng.sample(sorted(ATTRIBUTES), len(ATTRIBUTES)))
    )
    # Small worlds keep the short forms of the main threads and little else.
    roomy = length >= 14
    changes = [3, 4, 4, 5] if roomy else [3]
    threads = [
        _track(rng, cast, cast.names[0], cast.attributes[0], rng.choice(changes)),
        _events(rng, cast, 2 if roomy else 1),
        _track(rng, cast, cast.names[1], cast.attributes[0], rng.choice(changes) - 1),
    ]
    room = length - sum(_size(thread) for thread in threads)
    for thread in _side_threads(rng, cast):
        # A thread that finds no room is left out; a smaller one after it may still fit.
        if _size(thread) <= room:
            threads.append(thread)
            room -= _size(thread)
    threads += [[(Beat("talk"),)] for _ in range(room)]
    return _interleave(rng, threads)


def _side_threads(rng: random.Random, cast: Cast) -> list[Thread]:
    """Plans first, then the rest in random order: what finds room is told."""
    a, b, c, d = cast.names
    both = rng.sample([a, b], 2)
    makers: list[Callable[[], Thread]] = [
        lambda: _track(rng, cast, both[0], cast.attributes[1], 3),
        lambda: _distractors(rng, cast, both[0]),
        lambda: _distractors(rng, cast, both[1]),
        lambda: _fact(rng, cast, c),
        lambda: _remarks(rng, cast),
        lambda: _gifts(rng, cast),
        lambda: _nickname(rng, cast, d),
        lambda: _donations(rng, cast, c),
        lambda: [(Beat("talk"),)],
    ]
    rng.shuffle(makers)
    return [_plans(rng, cast, both[0]), *(make() for make in makers)]


def _track(rng: random.Random, cast: Cast, name: str, attribute: str, changes: int) -> Thread:
    """An attribute that changes. A correction never comes second: it would leave two first values."""
    chosen = rng.sample(values(attribute, cast.split), changes)
    beats = [Beat("set", name, attribute, value) for value in chosen]
    for i in range(2, changes):
        if rng.random() < 0.6:
            beats[i] = Beat("correct", name, attribute, chosen[i], chosen[i - 1])
    return [(beat,) for beat in beats]


def _events(rng: random.Random, cast: Cast, count: int) -> Thread:
    events = rng.sample(fillers("event", cast.split), count)
    people = rng.sample(cast.names, count)
    return [(Beat("event", name, value=event),) for name, event in zip(people, events, strict=True)]


def _plans(rng: random.Random, cast: Cast, name: str) -> Thread:
    """Two plans made and called off, or one that was nearly called off in between."""
    one, two, three = rng.sample(fillers("plan", cast.split), 3)
    steps = [("plan", one), ("off", one), ("plan", two), ("off", two)]
    if rng.random() < 0.4:
        steps = [("plan", one), ("plan", two), ("off", two), ("off", one)]
    if rng.random() < 0.3:
        steps += [("plan", three), ("stands", three)]
    return [(Beat(kind, name, value=value),) for kind, value in steps]


def _distractors(rng: random.Random, cast: Cast, name: str) -> Thread:
    """Talk about the attribute that changes nothing."""
    attribute = cast.attributes[0]
    # The values of a held-out pool are few: one that is also set elsewhere would be ambiguous only by chance.
    one, two = rng.sample(values(attribute, cast.split), 2)
    beats = [
        Beat("considered", name, attribute, one),
        Beat("suggestion", name, attribute, two),
        Beat("mention", name, attribute),
    ]
    return [(beat,) for beat in rng.sample(beats, rng.choice([1, 2]))]


def _fact(rng: random.Random, cast: Cast, name: str) -> Thread:
    attribute = cast.attributes[rng.choice([0, 2, 3])]
    return [(Beat("set", name, attribute, rng.choice(values(attribute, cast.split))),)]


def _remarks(rng: random.Random, cast: Cast) -> Thread:
    people, places = rng.sample(cast.names, 2), rng.sample(fillers("place", cast.split), 2)
    remarks = rng.sample(fillers("remark", cast.split), 2)
    return [(Beat("said", n, p, r),) for n, p, r in zip(people, places, remarks, strict=True)]


def _gifts(rng: random.Random, cast: Cast) -> Thread:
    people, gifts = rng.sample(cast.names, 2), rng.sample(fillers("gift", cast.split), 2)
    return [(Beat("came", n), Beat("gift", n, value=g)) for n, g in zip(people, gifts, strict=True)]


def _nickname(rng: random.Random, cast: Cast, name: str) -> Thread:
    nickname = rng.choice(fillers("nickname", cast.split))
    item = rng.choice(fillers("item", cast.split))
    return [(Beat("nickname", name, nickname),), (Beat("borrowed", name, nickname, item),)]


def _donations(rng: random.Random, cast: Cast, name: str) -> Thread:
    items = rng.sample(fillers("item", cast.split), rng.choice([2, 3, 4]))
    return [(Beat("donated", name, value=item),) for item in items]


def _size(thread: Thread) -> int:
    return sum(len(block) for block in thread)


def _interleave(rng: random.Random, threads: list[Thread]) -> list[Beat]:
    """A random merge that keeps each thread's order: every merge is equally likely."""
    order = [i for i, thread in enumerate(threads) for _ in thread]
    rng.shuffle(order)
    remaining = [iter(thread) for thread in threads]
    return [beat for i in order for beat in next(remaining[i])]

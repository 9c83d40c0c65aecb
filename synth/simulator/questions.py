"""Questions about a told world, each with the only segments that answer it."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from evoembedding.schemas.episode import Split
from evoembedding.synth.drafting import Asked
from evoembedding.synth.simulator.builders.told import Candidate, world
from evoembedding.synth.simulator.fillers import SPLITS, partition
from evoembedding.synth.simulator.world import Beat
from evoembedding.synth.taxonomy import QUESTION_TYPES, STATE_TYPES

STATE_SHARE = 2 / 3
BUILDERS = {kind.name: kind.builder for kind in QUESTION_TYPES.values() if kind.builder}
_TEMPLATES = {
    (kind, split): partition(builder.templates, split) for kind, builder in BUILDERS.items() for split in SPLITS
}


def ask(rng: random.Random, split: Split, beats: Sequence[Beat], count: int) -> list[Asked]:
    """Up to `count` questions on different things, the types in balance and two in three about state."""
    pool: dict[str, list[Candidate]] = defaultdict(list)
    for kind, candidate in candidates(beats):
        pool[kind].append(candidate)
    # Builders give them by place, and those of one end would be asked about more often.
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
        one = _word(rng, split, kind, candidate)
        if one.text not in texts:
            texts.add(one.text)
            used[kind] += 1
            asked.append(one)
    return asked


def candidates(beats: Sequence[Beat]) -> Iterator[tuple[str, Candidate]]:
    """Every question with one right answer, by type."""
    told = world(beats)
    for kind, builder in BUILDERS.items():
        yield from ((kind, candidate) for candidate in builder.candidates(told))


def _next_type(rng: random.Random, pool: dict[str, list[Candidate]], used: Counter[str]) -> str:
    state = [kind for kind in pool if kind in STATE_TYPES]
    other = [kind for kind in pool if kind not in STATE_TYPES]
    kinds = (state or other) if rng.random() < STATE_SHARE else (other or state)
    least = min(used[kind] for kind in kinds)
    return rng.choice([kind for kind in kinds if used[kind] == least])


def _word(rng: random.Random, split: Split, kind: str, c: Candidate) -> Asked:
    slots = {"name": c.name, "a": c.attribute, "e": c.event, "v": c.value, "w": c.other}
    return Asked(kind, rng.choice(_TEMPLATES[kind, split]).format_map(slots), c.answer, c.evidence)

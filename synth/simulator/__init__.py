"""Seeded simulated dialogues. Context `i` depends on (seed, split, i) and the config only, so partitions agree."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.configs import SimulatorConfig
from schemas.episode import Draft
from schemas.identity import identity
from schemas.ids import digest

VERSION = "simulator-2"


def fingerprint(config: SimulatorConfig) -> str:
    """Identifies the generator's version and every setting that changes a context (not how many there are)."""
    return digest({"version": VERSION, "config": identity(config, "contexts")}, 10)


def simulate(config: SimulatorConfig, start: int = 0, stop: int | None = None) -> Iterator[Draft]:
    """Drafts of contexts `start` to `stop` (all of `config.contexts` by default), in order."""
    # Not at the top: drafts need the taxonomy, whose entries name builders of this package.
    from synth.simulator.drafts import draft

    mark = fingerprint(config)
    for index in range(start, config.contexts if stop is None else stop):
        yield draft(config, index, mark)

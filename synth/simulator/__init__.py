"""Seeded simulated dialogues. Context `i` depends on (seed, split, i) and the config only, so partitions agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.episode import Draft
from evoembedding.schemas.identity import identity
from evoembedding.schemas.ids import digest
from evoembedding.synth.tables import tables

VERSION = "simulator-2"  # raised by hand for a change of code that changes what is told or asked

_ASKING = ("drafts", "questions", "builders.told", "builders.tracks", "builders.events", "builders.asides")


def components(config: SimulatorConfig) -> dict[str, Any]:
    """What can change a context or a question, by name: version, tables, and every setting but how many there are."""
    # Not at the top: the taxonomy's entries name builders of this package.
    from evoembedding.synth.simulator.questions import BUILDERS
    from evoembedding.synth.taxonomy import QUESTION_TYPES

    return {
        "code": VERSION,
        "fillers": tables(f"{__name__}.fillers", f"{__name__}.world"),
        "paraphrases": tables(f"{__name__}.render"),
        "builders": tables(*(f"{__name__}.{name}" for name in _ASKING), but=("QUESTION_TYPES",)),
        "types": [f"{name}, {QUESTION_TYPES[name].family}" for name in BUILDERS],
        **identity(config, "contexts"),
    }


def fingerprint(config: SimulatorConfig) -> str:
    """Identifies all of them."""
    return digest({"stage": "simulator", **components(config)}, 10)


def simulate(config: SimulatorConfig, start: int = 0, stop: int | None = None) -> Iterator[Draft]:
    """Drafts of contexts `start` to `stop` (all of `config.contexts` by default), in order."""
    from evoembedding.synth.simulator.drafts import draft

    mark = fingerprint(config)
    for index in range(start, config.contexts if stop is None else stop):
        yield draft(config, index, mark)

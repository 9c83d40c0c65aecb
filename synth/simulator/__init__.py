"""Seeded simulated dialogues. Context `i` depends on (seed, split, i) and the config only, so partitions agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evoembedding.schemas.configs import Recipe, SimulatorConfig
from evoembedding.schemas.episode import Draft
from evoembedding.schemas.identity import identity
from evoembedding.synth.generator import Generator
from evoembedding.synth.tables import tables

VERSION = "simulator-2"  # raised by hand for a change of code that changes what is told or asked

_ASKING = ("drafts", "questions", "builders.told")  # and the files of the builders that the taxonomy names


def components(config: SimulatorConfig) -> dict[str, Any]:
    """What can change a context or a question, by name: version, tables, and every setting but how many there are."""
    # Not at the top: the taxonomy's entries name builders of this package.
    from evoembedding.synth.simulator.questions import BUILDERS
    from evoembedding.synth.taxonomy import QUESTION_TYPES

    asking = {*(f"{__name__}.{name}" for name in _ASKING), *(b.candidates.__module__ for b in BUILDERS.values())}
    return {
        "code": VERSION,
        "fillers": tables(f"{__name__}.fillers", f"{__name__}.world"),
        "paraphrases": tables(f"{__name__}.render"),
        "builders": tables(*sorted(asking), but=("QUESTION_TYPES",)),
        "types": [f"{name}, {QUESTION_TYPES[name].family}" for name in BUILDERS],
        **identity(config, "contexts"),
    }


def simulate(config: SimulatorConfig, start: int = 0, stop: int | None = None) -> Iterator[Draft]:
    """Drafts of contexts `start` to `stop` (all of `config.contexts` by default), in order."""
    return _from_seeds(config, range(start, config.contexts if stop is None else stop))


def _from_seeds(config: SimulatorConfig, seeds: Sequence[int]) -> Iterator[Draft]:
    from evoembedding.synth.simulator.drafts import draft

    stage = generator.fingerprint(config)  # once: it hashes every table
    for seed in seeds:
        yield draft(config, seed, stage)


def simulators(recipe: Recipe) -> tuple[SimulatorConfig, SimulatorConfig]:
    """The recipe's training simulator and its held-out one: other fillers, other paraphrases."""
    train = recipe.simulator
    return train, train.replace(split="heldout", contexts=recipe.heldout_contexts)


generator = Generator(
    "simulator",
    "dialogues between invented people, whose facts change, with exact evidence",
    "seeds",
    components,
    configs=simulators,
    seeds=lambda config: int(config.contexts),
    from_seeds=_from_seeds,
    split=lambda config: config.split,
    kind=lambda config: f"simulator {config.split}",
    # Held-out worlds are of a kind of their own: no training world is made in their place.
    kind_of_stage=lambda config: "simulator" if config.split == "train" else f"simulator {config.split}",
    names_tables=True,
)

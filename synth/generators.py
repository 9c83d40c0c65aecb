"""The offline generators, a line each; and the stages of what a recipe asks of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.errors import EvoError
from evoembedding.synth.fingerprints import Drafted, Stage
from evoembedding.synth.generator import Generator
from evoembedding.synth.verification import components, fingerprint

_FILES = (
    "simulator",
    "cloze",
)
GENERATORS: dict[str, Generator] = {name: import_module(f"evoembedding.synth.{name}").generator for name in _FILES}


class Offline(NamedTuple):
    """A generator, a config that a recipe has for it, and the stages of what it makes with that."""

    generator: Generator
    config: Any
    stages: Drafted

    @classmethod
    def of(cls, generator: Generator, config: Any) -> Offline:
        """The generator under a config."""
        return cls(generator, config, drafted(generator, config))

    @property
    def kind(self) -> str:
        """What plans call it."""
        return self.generator.kind_of(self.config)


def offline(recipe: Recipe) -> list[Offline]:
    """What a recipe asks of generators that need no teacher.

    Raises:
        EvoError: it has settings for a generator that there is not, or that its generator refuses.
    """
    settled = [name for name, generator in GENERATORS.items() if generator.settings]
    if unknown := recipe.generators.keys() - set(settled):
        raise EvoError(
            f"recipe '{recipe.name}' has settings under 'generators.{min(unknown)}', which no generator reads; nothing "
            f"was made; those that do are: {', '.join(settled) or 'none'}; simulator and cloze have tables of their own"
        )
    return [Offline.of(generator, config) for generator in GENERATORS.values() for config in generator.asked_by(recipe)]


def drafted(generator: Generator, config: Any) -> Drafted:
    """The stages of what a generator makes with a config."""
    first, name, kind = generator.fingerprint(config), generator.name, generator.stage_kind(config)
    drafts = Stage(name, kind, first, generator.components(config))
    return Drafted(drafts, Stage("verify", kind, fingerprint(first, name), components(), first))

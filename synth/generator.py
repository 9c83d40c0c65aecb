"""What an offline generator is: contexts with questions and evidence, from seeds or from documents, with no teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import ValidationError

from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.episode import Document, Draft
from evoembedding.schemas.errors import EvoError, first_fault
from evoembedding.schemas.identity import Config
from evoembedding.schemas.ids import digest

C = TypeVar("C", bound=Config)


class Generator(NamedTuple):
    """A generator, from which fingerprints, plans, runs and the docs derive. Its configs are records."""

    name: str  # of its rows and of its stage
    says: str  # what it makes, for the docs
    source: Literal["seeds", "documents"]  # what a draft is made from, and what is pending
    configs: Callable[[Recipe], Sequence[Any]]  # what a recipe asks of it; none leaves it out
    components: Callable[[Any], dict[str, Any]]  # what of code and config can change a draft, by name
    seeds: Callable[[Any], int] = lambda config: 0  # how many a config wants; 0 where it reads documents
    from_seeds: Callable[[Any, Sequence[int]], Iterable[Draft]] | None = None
    from_document: Callable[[Any, Document], Iterable[Draft]] | None = None
    nothing: str = ""  # why a document may give no draft
    kind: Callable[[Any], str] | None = None  # what plans call a config, where a recipe has several
    kind_of_stage: Callable[[Any], str] | None = None  # what stages call it, where that is another

    def kind_of(self, config: Any) -> str:
        """What plans call what is made with a config."""
        return self.kind(config) if self.kind else self.name

    def stage_kind(self, config: Any) -> str:
        """What stages call it: an earlier version of a stage is one of the same name and kind."""
        return self.kind_of_stage(config) if self.kind_of_stage else self.kind_of(config)

    def fingerprint(self, config: Any) -> str:
        """Identifies all that is drafted with a config."""
        return digest({"stage": self.name, **self.components(config)}, 10)


def settings_of(name: str, kind: type[C]) -> Callable[[Recipe], Sequence[C]]:
    """The configs of a generator that recipes name in `generators`: one, or none.

    Raises:
        EvoError: (when it is called) these settings are none of it.
    """

    def configs(recipe: Recipe) -> Sequence[C]:
        if name not in recipe.generators:
            return ()
        try:
            return (kind.model_validate(recipe.generators[name]),)
        except ValidationError as error:
            raise EvoError(
                f"recipe '{recipe.name}', generator '{name}': {first_fault(error)}; nothing was made"
            ) from None

    return configs

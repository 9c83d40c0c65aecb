"""What an offline generator is: contexts with questions and evidence, from seeds or from documents, with no teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.episode import Document, Draft, Split
from evoembedding.schemas.errors import EvoError, first_fault
from evoembedding.schemas.identity import Config
from evoembedding.schemas.ids import digest
from evoembedding.synth.tables import tables


class Generator(NamedTuple):
    """A generator, from which fingerprints, plans, runs and the docs derive. Its configs are records."""

    name: str  # of its rows and of its stage
    says: str  # what it makes, for the docs
    source: Literal["seeds", "documents"]  # what a draft is made from, and what is pending
    parts: Callable[[Any], dict[str, Any]]  # what of code and config can change a draft, by name
    settings: type[Config] | None = None  # what a recipe gives under its name in `generators`
    configs: Callable[[Recipe], Sequence[Any]] | None = None  # where a recipe has fields of its own for it
    seeds: Callable[[Any], int] = lambda config: 0  # how many a config wants; 0 where it reads documents
    from_seeds: Callable[[Any, Sequence[int]], Iterable[Draft]] | None = None
    from_document: Callable[[Any, Document], Iterable[Draft]] | None = None
    nothing: str = ""  # why a document may give no draft
    split: Callable[[Any], Split] = lambda config: "train"
    kind: Callable[[Any], str] | None = None  # what plans call a config, where a recipe has several
    kind_of_stage: Callable[[Any], str] | None = None  # what stages call it, where that is another
    names_tables: bool = False  # `parts` holds its tables and families already

    def asked_by(self, recipe: Recipe) -> Sequence[Any]:
        """Its configs under a recipe; none leaves it out.

        Raises:
            EvoError: the recipe's settings are none of it.
        """
        if self.configs:
            return self.configs(recipe)
        if self.settings is None or self.name not in recipe.generators:
            return ()
        try:
            return (self.settings.model_validate(recipe.generators[self.name]),)
        except ValidationError as error:
            raise EvoError(
                f"recipe '{recipe.name}', generator '{self.name}': {first_fault(error)}; nothing was made"
            ) from None

    def components(self, config: Any) -> dict[str, Any]:
        """What its fingerprint hashes, by name: `parts`, and what no author has to think of."""
        if self.names_tables:
            return self.parts(config)
        from evoembedding.synth.taxonomy import QUESTION_TYPES  # whose entries name builders of the simulator

        # A question stores its type's family: a type that changes its family makes other rows.
        families = [[name, kind.family] for name, kind in QUESTION_TYPES.items()]
        own = {"tables": tables(self.parts.__module__, but=("QUESTION_TYPES",)), "families": digest(families, 10)}
        return {**own, **self.parts(config)}

    def kind_of(self, config: Any) -> str:
        """What plans call what is made with a config."""
        return self.kind(config) if self.kind else self.name

    def stage_kind(self, config: Any) -> str:
        """What stages call it: an earlier version of a stage is one of the same name and kind."""
        return self.kind_of_stage(config) if self.kind_of_stage else self.kind_of(config)

    def fingerprint(self, config: Any) -> str:
        """Identifies all that is drafted with a config."""
        return digest({"stage": self.name, **self.components(config)}, 10)

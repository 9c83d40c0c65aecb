"""Which episodes are a recipe's own. Prefect is not imported here, so that what only asks of them starts nothing."""

from __future__ import annotations

from evoembedding.schemas.configs import Recipe
from evoembedding.synth.fingerprints import chains
from evoembedding.synth.generators import offline
from evoembedding.warehouse.datasets.versions import EpisodeFilter


def made_by(recipe: Recipe) -> EpisodeFilter:
    """The training episodes that this recipe's stages make."""
    free = [one.stages.verify for one in offline(recipe) if one.generator.split(one.config) == "train"]
    taught = [stages.verify for stages in chains(recipe.teaching).values()] if recipe.teaching else []
    return EpisodeFilter(split="train", verified=tuple(stage.fingerprint for stage in (*free, *taught)))

"""The command `evo shard`."""

from __future__ import annotations

from typing import Annotated

import typer

from evoembedding.flows.commands.options import BACKBONE, Dataset, RecipeName
from evoembedding.flows.recipes import changed
from evoembedding.flows.recipes import recipe as named_recipe
from evoembedding.flows.settings import state
from evoembedding.flows.terminal.console import Json, say
from evoembedding.schemas.places import resolve as resolve_place


def shard(
    dataset: Dataset,
    recipe: RecipeName = "demo",
    backbone: Annotated[str | None, typer.Option(help=BACKBONE)] = None,
    force: Annotated[bool, typer.Option(help="Write the shards again, for example after damage.")] = False,
    as_json: Json = False,
) -> None:
    """Tokenise a dataset version and write its length-sorted shards."""
    from evoembedding.flows.build_dataset import shard_version
    from evoembedding.trainer.backbones.names import check_backbone_name

    config = named_recipe(recipe).train.model
    config = changed(config, backbone=backbone)
    check_backbone_name(config.backbone)
    shards = shard_version.fn(state(), dataset, config, force)
    path = resolve_place(shards.place, state())
    say({**shards.model_dump(), "path": str(path)}, as_json, f"{shards.shard_set_id}: {shards.rows} rows at {path}")

"""The command `evo train`."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evoembedding.flows.commands.options import BACKBONE, Dataset, RecipeName
from evoembedding.flows.commands.peek import peek
from evoembedding.flows.recipes import changed
from evoembedding.flows.recipes import recipe as named_recipe
from evoembedding.flows.settings import state, user
from evoembedding.flows.terminal import prefect_server
from evoembedding.flows.terminal.console import Json, say, warn
from evoembedding.schemas.ablations import ABLATIONS, ablated
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.places import resolve as resolve_place

if TYPE_CHECKING:
    from evoembedding.schemas.dataset import ModelRecord


def train(
    dataset: Dataset,
    recipe: RecipeName = "demo",
    steps: Annotated[int | None, typer.Option(min=1)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the shards, in place of steps.")] = None,
    batches_per_step: Annotated[
        int | None, typer.Option(min=1, help="Over all ranks, which share them evenly; the curve depends on it.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help=BACKBONE)] = None,
    seed: Annotated[int | None, typer.Option(help="Training seed.")] = None,
    ablate: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=f"Train without: {', '.join(ABLATIONS)}; repeatable.")
    ] = None,
    nproc: Annotated[int, typer.Option(min=1, help="Ranks on this machine.")] = 1,
    hostfile: Annotated[
        Path | None, typer.Option(help="Machines, a line 'NAME slots=N' each, started over ssh; state is shared.")
    ] = None,
    ssh_config: Annotated[Path | None, typer.Option(help="ssh's configuration file, in place of your own.")] = None,
    zero: Annotated[
        int | None, typer.Option(min=0, max=3, help="ZeRO stage: what ranks hold a part of each; 0 is nothing.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Register the model as the next version of this name: NAME@1, NAME@2, ...")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model on a dataset version with DeepSpeed; a killed run resumes at its last checkpoint."""
    if hostfile and nproc != 1:
        raise EvoError(f"--nproc {nproc} and --hostfile both say where ranks run; nothing was trained; give one")
    if steps and epochs:
        raise EvoError(f"--steps {steps} and --epochs {epochs} both say how long; nothing was trained; give one")
    config = reduce(ablated, ablate or [], named_recipe(recipe).train)
    config = changed(config, steps=steps, epochs=0 if steps else epochs, batches_per_step=batches_per_step, seed=seed)
    config = changed(config, zero_stage=zero, model=changed(config.model, backbone=backbone))
    _check(dataset, name)
    from evoembedding.flows import train as job
    from evoembedding.trainer.backbones.names import check_backbone_name
    from evoembedding.warehouse.datasets.versions import resolve

    model = peek(lambda warehouse: next(job.trained_models(warehouse, resolve(warehouse, dataset), config), None))
    if model:
        warn("it is trained already")
    else:
        check_backbone_name(config.model.backbone)
        prefect_server.ready(state())
        chosen = named_recipe(recipe).replace(train=config)
        done = job.train(dataset, chosen, nproc, hostfile, ssh_config, name, home=state())
        model = peek(lambda warehouse: job.find_model(warehouse, done["training_run_id"]))
    assert model
    _tell(model, name, as_json)


def _check(dataset: str, name: str | None) -> None:
    from evoembedding.warehouse.datasets.draft_versions import refuse_draft
    from evoembedding.warehouse.datasets.versions import resolve
    from evoembedding.warehouse.registry.versions import check_free

    # Asked by the flow as well; here before torch is imported and Prefect started, which take seconds.
    peek(lambda warehouse: refuse_draft(warehouse, resolve(warehouse, dataset), "nothing was trained"))
    if name is not None:
        peek(lambda warehouse: check_free(warehouse, name))


def _tell(model: ModelRecord, name: str | None, as_json: bool) -> None:
    """Register the model, which is done already where it was trained just now, and say what it is called."""
    from evoembedding.flows.mlflow_mirror import mirror
    from evoembedding.warehouse.registry.labels import labels_of
    from evoembedding.warehouse.registry.versions import register

    if name is not None and peek(lambda warehouse: register(warehouse, model, name, user()))[1]:
        mirror(state())
    path, named = resolve_place(model.place, state()), peek(lambda warehouse: labels_of(warehouse, model.model_id))
    told = f"{', '.join([model.model_id, *named])} at {path}"
    say({**model.model_dump(), "path": str(path), "named": named}, as_json, told)

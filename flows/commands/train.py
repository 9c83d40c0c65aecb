"""The command `evo train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evoembedding.flows.commands.options import BACKBONE, Dataset, RecipeName
from evoembedding.flows.commands.peek import peek
from evoembedding.flows.recipes import changed
from evoembedding.flows.recipes import recipe as named_recipe
from evoembedding.flows.settings import state
from evoembedding.flows.terminal import prefect_server
from evoembedding.flows.terminal.console import Json, say, warn
from evoembedding.schemas.ablations import ABLATIONS, ablated
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.places import resolve as resolve_place


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
    as_json: Json = False,
) -> None:
    """Train a model on a dataset version with DeepSpeed; a killed run resumes at its last checkpoint."""
    from evoembedding.warehouse.datasets.versions import resolve

    if hostfile and nproc != 1:
        raise EvoError(f"--nproc {nproc} and --hostfile both say where ranks run; nothing was trained; give one")
    if steps and epochs:
        raise EvoError(f"--steps {steps} and --epochs {epochs} both say how long; nothing was trained; give one")
    config = named_recipe(recipe).train
    config = changed(config, steps=steps, epochs=0 if steps else epochs, batches_per_step=batches_per_step, seed=seed)
    config = changed(config, zero_stage=zero, model=changed(config.model, backbone=backbone))
    for name in ablate or []:
        config = ablated(config, name)
    peek(lambda warehouse: resolve(warehouse, dataset))
    from evoembedding.flows import train as job
    from evoembedding.trainer.backbones.names import check_backbone_name

    model = peek(lambda warehouse: next(job.trained_models(warehouse, resolve(warehouse, dataset), config), None))
    if model:
        warn("it is trained already")
    else:
        check_backbone_name(config.model.backbone)
        prefect_server.ready(state())
        done = job.train(dataset, named_recipe(recipe).replace(train=config), nproc, hostfile, ssh_config, home=state())
        model = peek(lambda warehouse: job.find_model(warehouse, done["training_run_id"]))
    assert model
    path = resolve_place(model.place, state())
    say({**model.model_dump(), "path": str(path)}, as_json, f"{model.model_id} at {path}")

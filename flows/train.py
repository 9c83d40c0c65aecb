"""Train: a shard set and a config -> a model folder, its metrics, and the rows that trace it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import UUID

import polars as pl
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.schemas.objects import State

from evoembedding.flows.announce import announce
from evoembedding.flows.build_dataset import shard_version, tokenizer_folder
from evoembedding.flows.lineage_events import emits, reads, writes
from evoembedding.flows.mlflow_mirror import mirror
from evoembedding.flows.parameters import THE_WORKERS, Home, Nproc, RecipeParameter, by_name
from evoembedding.flows.progress import tell
from evoembedding.flows.settings import git_commit, package_version, user
from evoembedding.flows.terminal.console import warn
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.dataset import DatasetVersion, ModelRecord, ShardSet, TrainingRun
from evoembedding.schemas.ids import content_id
from evoembedding.schemas.moments import now
from evoembedding.schemas.places import place_of
from evoembedding.trainer.backbones.names import check_backbone_name
from evoembedding.trainer.identity import training_run_id
from evoembedding.trainer.model.batches import Schedule
from evoembedding.trainer.model_folder import weights_digest, write_lineage
from evoembedding.trainer.training.job import METRICS
from evoembedding.trainer.training.launch import RankLostError, launch
from evoembedding.trainer.training.rows import Rows
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.draft_versions import refuse_draft
from evoembedding.warehouse.datasets.versions import resolve
from evoembedding.warehouse.openlineage import assets
from evoembedding.warehouse.registry.versions import check_free, register
from evoembedding.warehouse.root import Root

RETRIES = 2  # after a rank was killed; what is wrong with the job itself would be wrong again


class Ranks(NamedTuple):
    """Where a job runs: on `nproc` ranks of this machine, or on those of a hostfile (with ssh's own config, if any)."""

    nproc: int = 1
    hostfile: Path | None = None
    ssh_config: Path | None = None


def in_steps(config: TrainConfig, root: Root, place: str) -> TrainConfig:
    """The config with its epochs as steps over the shard set of a place: both forms are one run."""
    if not config.epochs:
        return config
    steps = config.epochs * Schedule(Rows(root.bring(place)).tokens, config).steps_per_epoch
    return config.replace(steps=steps, epochs=0)


def find_model(warehouse: Warehouse, run_id: str) -> ModelRecord | None:
    """The model of a finished training run."""
    rows = warehouse.query("select * from models where training_run_id = ?", (run_id,))
    return ModelRecord(**rows.row(0, named=True)) if len(rows) else None


def trained_models(warehouse: Warehouse, version: DatasetVersion, config: TrainConfig) -> Iterator[ModelRecord]:
    """The models that were trained on a version with this config."""
    sets = warehouse.query("select * from shard_sets where dataset_id = ?", (version.dataset_id,))
    for row in sets.iter_rows(named=True):
        shards = ShardSet(**row)
        run_id = training_run_id(shards, in_steps(config, Root.of(warehouse.home), shards.place))
        if model := find_model(warehouse, run_id):
            yield model


def rank_was_lost(task: object, run: object, state: State[Any]) -> bool:
    """Whether a failed task is to be tried again: it goes on from the last checkpoint."""
    try:
        state.result()
    except RankLostError:
        return True
    except Exception:
        return False
    return False


@task(persist_result=False, retries=RETRIES, retry_condition_fn=rank_was_lost)
def train_model(
    home: Path, version: DatasetVersion, shards: ShardSet, config: TrainConfig, ranks: Ranks = Ranks()
) -> ModelRecord:
    """Run the DeepSpeed job (resuming it where it stopped) and register the model."""
    root = Root.of(home)
    config = in_steps(config, root, shards.place)
    run_id = training_run_id(shards, config)
    with Warehouse.open(home) as warehouse:
        if found := find_model(warehouse, run_id):
            return found
        tokenizer = tokenizer_folder(warehouse, home, version, config.model)
    out = home / "runs" / run_id
    tell(f"training {run_id} on {version.label}: {config.steps} steps (DeepSpeed's very first start compiles a module)")
    try:
        model = launch(
            root.bring(shards.place),
            tokenizer,
            config,
            out,
            ranks.nproc,
            on_progress=progress(),
            on_line=lines(),
            hostfile=ranks.hostfile,
            ssh_config=ranks.ssh_config,
            root=root,
        )
    except RankLostError as error:
        tell(f"{error}")
        raise
    return _register(home, version, shards, config, run_id, out, model)


def lines() -> Callable[[str], None]:
    """Tells what ranks write, from whichever thread, to the terminal and the run's log."""
    logger = get_run_logger()

    def on_line(line: str) -> None:
        warn(line)
        logger.info(line)

    return on_line


def progress() -> Callable[[dict[str, Any]], None]:
    """Tells each row of metrics to the terminal, the run's log and a Prefect progress artifact."""
    artifact = cast(UUID, create_progress_artifact(progress=0.0, key="training", description="Steps done"))

    def on_progress(row: dict[str, Any]) -> None:
        update_progress_artifact(artifact, progress=100 * row["step"] / row["steps"])
        tell(
            f"step {row['step']}/{row['steps']}  loss {row['loss']:.3f} (retrieval {row['contrastive_loss']:.3f}, "
            f"memory {row['memory_loss']:.3f})  {row['tokens_per_second']:.0f} tokens/s  "
            f"{row['memory_gib']:.1f} GiB  {row['seconds_left']:.0f} s left"
        )

    return on_progress


def metric_rows(run_id: str, metrics: list[dict[str, Any]]) -> pl.DataFrame:
    """The rows of `training_metrics` of a run's metrics."""
    wide = pl.DataFrame(metrics).with_columns(pl.all().exclude("step").cast(pl.Float64))  # of one type, to be unpivoted
    long = wide.unpivot(index="step", variable_name="name", value_name="value")
    return long.select(pl.lit(run_id).alias("training_run_id"), "step", "name", "value")


def _register(
    home: Path, version: DatasetVersion, shards: ShardSet, config: TrainConfig, run_id: str, out: Path, folder: Path
) -> ModelRecord:
    made, digest = now(), weights_digest(folder)
    metrics = [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
    model_id = content_id("model", {"run": run_id, "weights": digest})
    run = TrainingRun(
        training_run_id=run_id,
        shard_set_id=shards.shard_set_id,
        config=config.model_dump_json(),
        steps=config.steps,
        final_loss=metrics[-1]["loss"],
        seconds=sum(row["seconds"] for row in metrics),  # of all steps, whichever process took them
        created_at=made,
    )
    place = place_of(folder, home)
    model = ModelRecord(model_id=model_id, training_run_id=run_id, place=place, digest=digest, created_at=made)
    # The folder before the rows, and these in one transaction: `find_model` goes by them, so that a killed run is
    # registered again.
    write_lineage(
        folder,
        {
            "model_id": model_id,
            "training_run_id": run_id,
            "shard_set_id": shards.shard_set_id,
            "dataset": version.label,
            "dataset_id": version.dataset_id,
            "dataset_digest": version.digest,
            "dataset_recipe": json.loads(version.recipe),
            "package_version": package_version(),
            "git_commit": git_commit(),
            "weights_digest": digest,
        },
    )
    Root.of(home).publish(folder)
    with Warehouse.open(home) as warehouse:
        warehouse.append_all(
            {
                "training_metrics": metric_rows(run_id, metrics),
                "training_runs": to_frame(TrainingRun, [run]),
                "models": to_frame(ModelRecord, [model]),
            }
        )
    told = {"training_run_id": run_id, "steps": run.steps, "final_loss": run.final_loss, "seconds": run.seconds}
    announce(home, "model.trained", ("model", model_id), ("dataset", version.label), payload=told)
    return model


@flow(name="train", persist_result=True, result_serializer="json")
@emits("train", of="dataset")
def train(
    dataset: str,
    recipe: RecipeParameter = by_name("demo"),
    nproc: Nproc = 1,
    hostfile: Path | None = None,
    ssh_config: Path | None = None,
    name: str | None = None,
    home: Home = THE_WORKERS,
) -> dict[str, Any]:
    """Shard the dataset version if it is not yet, and train on it; what `evaluate` takes as its model.

    Args:
        dataset: NAME@N or NAME@TAG, or NAME for its newest.
        recipe: Whose `train` settings are used: the name of a recipe, a file, or its settings.
        nproc: Ranks on this machine.
        hostfile: Machines, a line 'NAME slots=N' each, started over ssh; state is shared.
        ssh_config: ssh's configuration file.
        name: What the model is registered as: the next version of this name, `NAME@1`, `NAME@2`, ...
        home: The state folder; by default `$EVO_HOME` of the worker.
    """
    config = recipe.train
    # Before sharding, which takes minutes on as many episodes as the paper has (docs/performance.md).
    check_backbone_name(config.model.backbone)
    with Warehouse.open(home) as warehouse:
        version = resolve(warehouse, dataset)
        refuse_draft(warehouse, version, "nothing was trained")
        if name:
            check_free(warehouse, name)
    shards = shard_version(home, version.label, config.model)
    reads(assets.shard_set(home, shards))
    model = train_model(home, version, shards, config, Ranks(nproc, hostfile, ssh_config))
    writes(assets.model(home, model))
    named = ""
    if name:
        with Warehouse.open(home) as warehouse:
            named = register(warehouse, model, name, user())[0].label
        tell(f"{model.model_id} is {named}")
    mirror(home)
    told = {"model": model.model_id, "named": named, "dataset": version.label}
    return {**told, "training_run_id": model.training_run_id}

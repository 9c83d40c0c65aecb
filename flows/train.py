"""Train: a shard set and a config -> a model folder, its metrics, and the rows that trace it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from flows.build_dataset import shard_version, tokenizer_folder
from flows.lineage_events import emits, reads, writes
from flows.progress import tell
from flows.settings import git_commit
from schemas.arrow import to_frame
from schemas.configs import TrainConfig
from schemas.dataset import DatasetVersion, ModelRecord, ShardSet, TrainingRun
from schemas.ids import content_id
from trainer.checkpoint import weights_digest, write_lineage
from trainer.job import METRICS
from trainer.launch import launch
from warehouse import assets
from warehouse.catalog import Warehouse
from warehouse.versions import resolve


def training_run_id(shards: ShardSet, config: TrainConfig) -> str:
    """The same shards and config give the same run, so that a rerun resumes it."""
    return content_id(
        "run", {"shard_set": shards.shard_set_id, "config": config.model_dump(exclude={"checkpoint_every"})}
    )


def find_model(warehouse: Warehouse, run_id: str) -> ModelRecord | None:
    """The model of a finished training run."""
    rows = warehouse.query("select * from models where training_run_id = ?", (run_id,))
    return ModelRecord(**rows.row(0, named=True)) if len(rows) else None


@task(cache_policy=NO_CACHE)
def train_model(
    home: Path, version: DatasetVersion, shards: ShardSet, config: TrainConfig, nproc: int = 1
) -> ModelRecord:
    """Run the DeepSpeed job (resuming it where it stopped) and register the model."""
    run_id = training_run_id(shards, config)
    with Warehouse.open(home) as warehouse:
        if found := find_model(warehouse, run_id):
            return found
        tokenizer = tokenizer_folder(warehouse, home, version, config.model)
    out = home / "runs" / run_id
    tell(f"training {run_id} on {version.label}: {config.steps} steps (DeepSpeed's very first start compiles a module)")
    folder = launch(Path(shards.path), tokenizer, config, out, nproc, on_progress=progress())
    return _register(home, version, shards, config, run_id, out, folder)


def progress() -> Callable[[dict[str, Any]], None]:
    """Tells each row of metrics to the terminal, the run's log and a Prefect progress artifact."""
    artifact = cast(UUID, create_progress_artifact(progress=0.0, key="training", description="Steps done"))

    def on_progress(row: dict[str, Any]) -> None:
        update_progress_artifact(artifact, progress=100 * row["step"] / row["steps"])
        tell(
            f"step {row['step']}/{row['steps']}  loss {row['loss']:.3f} (retrieval {row['contrastive_loss']:.3f}, "
            f"memory {row['memory_loss']:.3f})  {row['tokens'] / row['seconds']:.0f} tokens/s a rank  "
            f"{row['seconds_left']:.0f} s left"
        )

    return on_progress


def _register(
    home: Path,
    version: DatasetVersion,
    shards: ShardSet,
    config: TrainConfig,
    run_id: str,
    out: Path,
    folder: Path,
) -> ModelRecord:
    now, digest = datetime.now(UTC).isoformat(), weights_digest(folder)
    metrics = [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
    model_id = content_id("model", {"run": run_id, "weights": digest})
    run = TrainingRun(
        training_run_id=run_id,
        shard_set_id=shards.shard_set_id,
        config=config.model_dump_json(),
        steps=config.steps,
        final_loss=metrics[-1]["loss"],
        seconds=sum(row["seconds"] for row in metrics),  # of all steps, whichever process took them
        created_at=now,
    )
    model = ModelRecord(model_id=model_id, training_run_id=run_id, path=str(folder), digest=digest, created_at=now)
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
            "git_commit": git_commit(),
            "weights_digest": digest,
        },
    )
    with Warehouse.open(home) as warehouse:
        warehouse.append_all({"training_runs": to_frame(TrainingRun, [run]), "models": to_frame(ModelRecord, [model])})
    return model


@flow(name="train")
@emits("train", of="dataset")
def train(home: Path, dataset: str, config: TrainConfig, nproc: int = 1) -> ModelRecord:
    """Shard the dataset version if it is not yet, and train on it."""
    with Warehouse.open(home) as warehouse:
        version = resolve(warehouse, dataset)
    shards = shard_version(home, version.label, config.model)
    reads(assets.shard_set(shards))
    model = train_model(home, version, shards, config, nproc)
    writes(assets.model(model))
    return model

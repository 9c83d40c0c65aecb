"""Build a dataset: publish the recipe's episodes as `name@N`, then cut length-sorted shards for a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, task

from evoembedding.flows.announce import announce
from evoembedding.flows.curate import curate
from evoembedding.flows.lineage_events import emits, lineage_run, reads, writes
from evoembedding.flows.made_by import made_by
from evoembedding.flows.parameters import THE_WORKERS, Home, RecipeParameter, by_name
from evoembedding.flows.progress import tell
from evoembedding.flows.settings import git_commit, user
from evoembedding.schemas.configs import ModelConfig, Recipe
from evoembedding.schemas.dataset import DatasetVersion, ShardSet
from evoembedding.schemas.errors import EvoError, RefusedError
from evoembedding.schemas.files import whole_folder
from evoembedding.schemas.model_folder import check_vouched, vouch
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer, load_tokenizer, train_tokenizer
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.draft_versions import draft_versions, judged_of, refuse_draft, sentence
from evoembedding.warehouse.datasets.expectations import judge, keep
from evoembedding.warehouse.datasets.versions import check_name, list_versions, publish, resolve, texts_of
from evoembedding.warehouse.openlineage import assets
from evoembedding.warehouse.registry.names import refuse_models_name
from evoembedding.warehouse.root import Root
from evoembedding.warehouse.shards.shard_sets import build_shards

TOKENIZER_CONTEXTS = 20_000  # of more, a small vocabulary learns nothing new
PUBLISHED = ("contexts", "episodes", "verdicts")  # what a dataset version is chosen from


def tokenizer_folder(warehouse: Warehouse, home: Path, version: DatasetVersion, config: ModelConfig) -> Path:
    """Holds the backbone's tokenizer, or for `tiny` a BPE trained on the dataset's own training text.

    Raises:
        EvoError: it was damaged since it was made: with another one, shards would be others too.
    """
    name = (
        # By what it was trained on; a hub's id holds a slash, which would be a folder.
        f"{version.dataset_id}-{config.vocabulary}" if config.backbone == "tiny" else config.backbone.replace("/", "--")
    )
    root = Root.of(home)
    folder = root.bring(f"tokenizers/{name}")
    # One file tells of all: the folder is there whole or not at all.
    if not (folder / "tokenizer.json").exists():
        made = (
            train_tokenizer(texts_of(warehouse, version.dataset_id, TOKENIZER_CONTEXTS), config.vocabulary)
            if config.backbone == "tiny"
            else load_tokenizer(config.backbone)
        )
        with whole_folder(folder) as partial:
            made.save(partial)
            vouch(partial, {"dataset": version.label, "dataset_digest": version.digest})
        root.publish(folder)
    try:
        check_vouched(folder)
    except (OSError, ValueError) as error:
        raise EvoError(
            f"tokenizer folder '{folder}' is not what it was: {error}; nothing was tokenised; remove it, and rerun to "
            "make it again"
        ) from error
    return folder


@task(persist_result=False)
@emits("publish", of="name")
def publish_version(home: Path, name: str, recipe: Recipe, accept: str = "") -> DatasetVersion:
    """Publish what curation keeps; the same content gives the same version.

    It is a draft where it is not what the recipe expects, unless `accept` says why it may be trained on all the same.
    """
    # Before curation, which takes half a minute on as many episodes as the paper has (docs/performance.md).
    check_name(name)
    with Warehouse.open(home) as warehouse:
        warehouse.transaction(lambda con: refuse_models_name(con, name))
        where = made_by(recipe)
        curated = curate(warehouse, recipe.curation, where, name)
        kept = where.replace(curation=curated.fingerprint)
        # What is there gives the version that is there, and is not announced again; a draft that is accepted is new.
        before = {version.dataset_id for version in list_versions(warehouse)} - draft_versions(warehouse)
        judging = judge(warehouse, name, recipe.name, recipe.expect, kept)
        version = publish(
            warehouse,
            name,
            recipe.model_dump_json(),
            git_commit(),
            kept,
            curated.episodes,
            # In the transaction that publishes: nobody meets the version before it is known whether it is a draft.
            lambda con, version: keep(warehouse, con, version, judging, accept, user()),
        )
        if judging:
            _tell_of_expectations(warehouse, version)
        new = version.dataset_id not in before | draft_versions(warehouse)
    if new:
        told = {"dataset_id": version.dataset_id, "episodes": version.episodes, "parent": version.parent}
        announce(home, "dataset.published", ("dataset", version.label), payload=told)
    reads(*assets.tables(PUBLISHED, version.snapshot))
    writes(assets.dataset(version))
    return version


def stop_at_draft(home: Path, version: DatasetVersion) -> None:
    """Go no further with a version that was published just now and is a draft.

    Raises:
        RefusedError: it is one.
    """
    with Warehouse.open(home) as warehouse:
        judged = judged_of(warehouse, version.dataset_id)
    if judged and judged.draft:
        raise RefusedError(sentence(version, judged, "no shard was written, and nothing was trained"))


def _tell_of_expectations(warehouse: Warehouse, version: DatasetVersion) -> None:
    """What was found, as a run that has read the version: OpenLineage tells of quality with what is read."""
    judged = judged_of(warehouse, version.dataset_id)
    assert judged is not None
    what = "Judge a dataset version by what its recipe expects."
    with lineage_run(warehouse.home, "expect", version.name, what, __file__):
        reads(assets.dataset(version, judged.rows))
        writes(assets.table("expectations", warehouse.snapshot(), rows=len(judged.rows)))


@task(persist_result=False)
@emits("shard", of="label")
def shard_version(home: Path, label: str, config: ModelConfig, force: bool = False) -> ShardSet:
    """Tokenise the version once and write its shards, manifest last.

    Raises:
        EvoError: all its episodes were withdrawn, or it is a draft.
    """
    with Warehouse.open(home) as warehouse:
        version = resolve(warehouse, label)
        # Asked here and not of the caller: `evo shard` comes straight to this.
        refuse_draft(warehouse, version, "no shard was written")
        if not version.episodes:
            raise EvoError(
                f"dataset {version.label} holds no episode, since all of them were withdrawn; no shard was written; "
                "synthesize from other sources and publish again"
            )
        reads(assets.dataset(version))
        tokenizer = EvoTokenizer.load(tokenizer_folder(warehouse, home, version, config))
        shards = build_shards(
            warehouse,
            version,
            tokenizer,
            home / "shards",
            force=force,
            progress=lambda done, total: tell(f"shard {label}: {done}/{total} contexts tokenised"),
        )
    writes(assets.shard_set(home, shards))
    return shards


@flow(name="build_dataset", persist_result=True, result_serializer="json")
@emits("build_dataset", of="recipe")
def build_dataset(
    recipe: RecipeParameter = by_name("demo"), name: str | None = None, home: Home = THE_WORKERS
) -> dict[str, Any]:
    """Publish and shard the recipe's episodes; what `train` takes as its dataset.

    Args:
        recipe: The name of a recipe, a file, or its settings.
        name: The dataset's name; by default the recipe's own.
        home: The state folder; by default `$EVO_HOME` of the worker.

    Raises:
        RefusedError: it is not what the recipe expects, and was published as a draft.
    """
    version = publish_version(home, name or recipe.name, recipe)
    stop_at_draft(home, version)
    tell(f"publish: {version.label} holds {version.episodes} episodes, digest {version.digest[:12]}")
    shards = shard_version(home, version.label, recipe.train.model)
    # Once more, for the flow's run: what the two tasks noted is noted of their own runs.
    reads(*assets.tables(PUBLISHED, version.snapshot))
    writes(assets.dataset(version), assets.shard_set(home, shards))
    return {
        "dataset": version.label,
        "dataset_id": version.dataset_id,
        "digest": version.digest,
        "episodes": version.episodes,
        "shard_set_id": shards.shard_set_id,
        "rows": shards.rows,
    }

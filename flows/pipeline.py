"""The whole DAG on one screen: ingest, synthesize, publish, shard, train, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from pydantic import ValidationError

from evoembedding.flows.build_dataset import build_dataset
from evoembedding.flows.evaluate import evaluate, heldout, stored_scores
from evoembedding.flows.ingest import ingest
from evoembedding.flows.lineage_events import emits
from evoembedding.flows.parameters import THE_WORKERS, Home, Nproc, RecipeParameter, by_name
from evoembedding.flows.pending import pending
from evoembedding.flows.synthesize import synthesize
from evoembedding.flows.train import train, trained_models
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.dataset import ModelRecord
from evoembedding.schemas.episode import Document
from evoembedding.schemas.identity import identity, stored
from evoembedding.synth.documents import read_documents
from evoembedding.trainer.identity import EXECUTION
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.draft_versions import draft_versions
from evoembedding.warehouse.datasets.versions import list_versions
from evoembedding.warehouse.documents.texts import HELD
from evoembedding.warehouse.lineage.withdrawal_marks import withdrawn_versions


@flow(name="pipeline", persist_result=True, result_serializer="json")
@emits("pipeline", of="recipe")
def pipeline(
    source: str,
    recipe: RecipeParameter = by_name("demo"),
    nproc: Nproc = 1,
    create_home: bool = False,
    home: Home = THE_WORKERS,
) -> dict[str, Any]:
    """From documents to an evaluated model; every stage does only what is missing.

    Args:
        source: A file, a folder, or a Hugging Face dataset id.
        recipe: The name of a recipe, a file, or its settings.
        nproc: Ranks on this machine that train.
        create_home: Make the home if it does not exist.
        home: The state folder; by default `$EVO_HOME` of the worker.
    """
    ingest(source, home=home)
    synthesize(recipe, home=home)
    built = build_dataset(recipe, home=home)
    trained = train(built["dataset"], recipe, nproc, home=home)
    return evaluate(trained["model"], recipe=recipe, home=home) | trained


def finished(home: Path, recipe: Recipe, source: str) -> ModelRecord | None:
    """The model of a pipeline that has nothing left to do; None when any stage has.

    Reads the warehouse only, so that a finished pipeline says so without starting Prefect.
    """
    if not (home / "warehouse").exists():
        return None
    # Read once more, since ids are of content: a file that was edited is work that is left.
    wanted = {d.document_id for d in read_documents(source) if isinstance(d, Document)}
    with Warehouse.open(home) as warehouse:
        if wanted - set(warehouse.query(HELD)["document_id"]) or pending(warehouse, recipe):
            return None
        # A model of episodes that were withdrawn is to be trained again, and none was to be trained on a draft.
        unusable = draft_versions(warehouse).union(withdrawn_versions(warehouse))
        for version in reversed(list_versions(warehouse)):
            if version.name == recipe.name and version.dataset_id not in unusable and _same(recipe, version.recipe):
                for model in trained_models(warehouse, version, recipe.train):
                    if not stored_scores(warehouse, model.model_id, heldout(recipe)).is_empty():
                        return model
    return None


def _same(recipe: Recipe, text: str) -> bool:
    """Whether a stored recipe gives what this one does, whatever it asks of a model, and fields that came since."""
    try:
        return _meaning(stored(type(recipe), text)) == _meaning(recipe)
    except ValidationError:
        return False


def _meaning(recipe: Recipe) -> dict[str, object]:
    # Neither gate nor policy: they decide about a model, and none is trained otherwise for them.
    return {**identity(recipe, "train", "gate", "retrain"), "train": identity(recipe.train, *EXECUTION)}

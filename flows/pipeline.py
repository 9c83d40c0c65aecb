"""The whole DAG on one screen: ingest, synthesize, publish, shard, train, evaluate."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.build_dataset import build_dataset
from flows.evaluate import evaluate
from flows.ingest import ingest
from flows.lineage_events import emits
from flows.synthesize import pending, synthesize
from flows.train import Ranks, train
from schemas.configs import Recipe
from schemas.dataset import ModelRecord
from schemas.episode import Document
from synth.documents import read_documents
from warehouse.catalog import Warehouse
from warehouse.withdrawn import withdrawn_versions


@flow(name="pipeline")
@emits("pipeline", of="recipe")
def pipeline(home: Path, recipe: Recipe, source: str, nproc: int = 1) -> ModelRecord:
    """From documents to an evaluated model; every stage does only what is missing."""
    ingest(home, source)
    synthesize(home, recipe)
    version, _ = build_dataset(home, recipe)
    model = train(home, version.label, recipe.train, Ranks(nproc))
    evaluate(home, model.model_id, "heldout", recipe)
    return model


def finished(home: Path, recipe: Recipe, source: str) -> ModelRecord | None:
    """The model of a pipeline that has nothing left to do; None when any stage has.

    Reads the warehouse only, so that a finished pipeline says so without starting Prefect.
    """
    if not (home / "warehouse").exists():
        return None
    wanted = {d.document_id for d in read_documents(source) if isinstance(d, Document)}
    with Warehouse.open(home) as warehouse:
        if wanted - set(warehouse.query("select document_id from documents")["document_id"]) or pending(
            warehouse, recipe
        ):
            return None
        runs = warehouse.query(
            """select m.*, d.dataset_id from models m join training_runs r using (training_run_id)
               join shard_sets s using (shard_set_id) join dataset_versions d using (dataset_id)
               where d.recipe = ? and r.config = ? and d.name = ?
                 and exists (select 1 from evaluations e
                             where e.model_id = m.model_id and starts_with(e.benchmark, 'heldout'))
               order by d.number desc limit 1""",
            (recipe.model_dump_json(), recipe.train.model_dump_json(), recipe.name),
        )
        # A model of episodes that were withdrawn is to be trained again.
        done = runs.filter(~runs["dataset_id"].is_in(list(withdrawn_versions(warehouse)))).drop("dataset_id")
    return ModelRecord(**done.row(0, named=True)) if len(done) else None

"""Runs of MLflow: one for each model of a warehouse, with its parameters, metrics, dataset version and scores.

A run is found by a tag that it has from its beginning, and finished last: what was broken off is gone on with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from evoembedding.schemas.benchmark import MODEL
from evoembedding.schemas.episode import Record
from evoembedding.schemas.model_folder import LINEAGE
from evoembedding.schemas.moments import Moment
from evoembedding.schemas.places import resolve
from evoembedding.warehouse.catalog import Warehouse

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

MODEL_ID, SCORES = "evo.model_id", "evo.scores"  # tags
ALL = "all"  # questions of every type
FINISHED = "FINISHED"
DIGEST_LENGTH = 36  # that MLflow has room for; the whole digest is in the dataset's source
FOREIGN = re.compile(r"[^\w.\-/ ]")  # in no name of a parameter, metric or tag


class Trained(Record):
    """A model with what it was trained by and on, and how many scores of its own it has."""

    model_id: str
    weights_digest: str
    created_at: Moment
    training_run_id: str
    config: str
    seconds: float
    shard_set_id: str
    dataset_id: str
    label: str
    dataset_digest: str
    place: str
    scores: int

    @property
    def experiment(self) -> str:
        """The name of the dataset."""
        return self.label.partition("@")[0]


def mirror_runs(client: MlflowClient, warehouse: Warehouse) -> tuple[dict[str, str], int]:
    """A finished run for each model, in the experiment of its dataset: their ids by the model's, and how many of them
    were made or brought up to date.

    Raises:
        mlflow.MlflowException: the server does not answer, or does not take it.
    """
    models = _trained(warehouse)
    experiments = {name: _experiment(client, name) for name in sorted({model.experiment for model in models})}
    there = {run.data.tags[MODEL_ID]: run for run in _found(client, list(experiments.values()))}
    ids: dict[str, str] = {}
    changed = 0
    for model in models:
        run = there.get(model.model_id) or _started(client, experiments[model.experiment], model, warehouse)
        ids[model.model_id] = run.info.run_id
        finished = run.info.status == FINISHED
        # Scores are only ever added: their number tells whether they are all there.
        scored = run.data.tags.get(SCORES) == str(model.scores)
        if not finished:
            _log_training(client, run.info.run_id, model, warehouse)
        if not scored:
            _log_scores(client, run.info.run_id, model, warehouse)
        changed += not (finished and scored)
    return ids, changed


def _trained(warehouse: Warehouse) -> list[Trained]:
    """The models of a warehouse, oldest first."""
    rows = warehouse.query(
        """SELECT v.model_id, v.weights_digest, v.created_at, v.training_run_id, v.config, v.seconds, v.shard_set_id,
                  v.dataset_id, v.label, v.dataset_digest, m.place,
                  (SELECT count(*) FROM lake.evaluations e WHERE e.model_id = v.model_id AND e.system = ?) AS scores
           FROM lake.model_versions v JOIN lake.models m USING (model_id) ORDER BY v.created_at, v.model_id""",
        (MODEL,),
    )
    return [Trained(**row) for row in rows.iter_rows(named=True)]


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _found(client: MlflowClient, experiments: list[str]) -> Iterator[Run]:
    """The runs that were mirrored before."""
    token = None
    while experiments:
        page = client.search_runs(experiments, f"tags.`{MODEL_ID}` LIKE 'model-%'", page_token=token)
        yield from page
        if not (token := page.token):
            return


def _started(client: MlflowClient, experiment: str, model: Trained, warehouse: Warehouse) -> Run:
    """A new run with all its tags but that of its scores."""
    code = _code(warehouse, model)
    tags = {
        MODEL_ID: model.model_id,
        "evo.shard_set_id": model.shard_set_id,
        "evo.dataset": model.label,
        "evo.weights_digest": model.weights_digest,
        "evo.package_version": code.get("package_version"),
        "mlflow.source.git.commit": code.get("git_commit"),
        "mlflow.source.name": "evo train",
    }
    began = _milliseconds(model.created_at) - int(1000 * model.seconds)
    return client.create_run(experiment, began, {k: str(v) for k, v in tags.items() if v}, model.training_run_id)


def _code(warehouse: Warehouse, model: Trained) -> dict[str, Any]:
    """What the model's folder says of the code that trained it; nothing where the folder is gone."""
    try:
        lineage = json.loads((resolve(model.place, warehouse.home) / LINEAGE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return lineage if isinstance(lineage, dict) else {}


def _log_training(client: MlflowClient, run_id: str, model: Trained, warehouse: Warehouse) -> None:
    """Parameters, the metrics of each step and the dataset version; then the run is finished."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

    ended = _milliseconds(model.created_at)
    rows = warehouse.query(
        "SELECT name, value, step FROM lake.training_metrics WHERE training_run_id = ? ORDER BY step, name",
        (model.training_run_id,),
    )
    metrics = [Metric(_name(name), value, ended, step) for name, value, step in rows.iter_rows()]
    params = [Param(_name(name), value) for name, value in _flat(json.loads(model.config))]
    client.log_batch(run_id, metrics, params)
    source = json.dumps({"dataset_id": model.dataset_id, "digest": model.dataset_digest})
    dataset = Dataset(model.label, model.dataset_digest[:DIGEST_LENGTH], "evoembedding", source)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    client.set_terminated(run_id, FINISHED, ended)


def _log_scores(client: MlflowClient, run_id: str, model: Trained, warehouse: Warehouse) -> None:
    """The model's means, as `locomo/nDCG_at_10`. A benchmark whose questions have changed is scored anew: that is the
    metric's next step, and a tag holds the digest of what was asked last.
    """
    from mlflow.entities import Metric, RunTag

    rows = warehouse.query(
        """SELECT benchmark, measured_on, question_type, metric, value FROM lake.evaluations
           WHERE model_id = ? AND system = ? ORDER BY rowid""",
        (model.model_id, MODEL),
    )
    metrics: list[Metric] = []
    asked: dict[str, list[str]] = {}
    for benchmark, measured_on, question_type, metric, value in rows.iter_rows():
        digests = asked.setdefault(benchmark, [])
        if measured_on not in digests:
            digests.append(measured_on)
        parts = (benchmark, metric) if question_type == ALL else (benchmark, question_type, metric)
        step, when = digests.index(measured_on), _milliseconds(model.created_at)
        metrics.append(Metric(_name("/".join(parts)), value, when, step))
    tags = [RunTag(_name(f"evo.measured_on.{benchmark}"), digests[-1]) for benchmark, digests in asked.items()]
    client.log_batch(run_id, metrics, tags=tags)
    # By itself and last: where this is broken off before, the scores count as missing and are sent again.
    client.set_tag(run_id, SCORES, str(model.scores))


def _flat(settings: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Settings by their dotted names; what is no text as JSON."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value if isinstance(value, str) else json.dumps(value)


def _name(text: str) -> str:
    """A name that MLflow takes."""
    return FOREIGN.sub("_", text.replace("@", "_at_"))


def _milliseconds(moment: datetime) -> int:
    return int(1000 * moment.timestamp())

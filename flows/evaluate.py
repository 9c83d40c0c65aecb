"""Evaluate: a model and a benchmark -> score rows, its memory-off ablation and the baselines beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from evoembedding.evaluation.baselines import runnable
from evoembedding.evaluation.benchmarks import read_benchmark
from evoembedding.evaluation.benchmarks.benchmark import Given
from evoembedding.evaluation.report import OVERALL, markdown_table
from evoembedding.evaluation.score import ALL, score, summarise
from evoembedding.flows.announce import announce
from evoembedding.flows.lineage_events import emits, reads, writes
from evoembedding.flows.mlflow_mirror import mirror
from evoembedding.flows.parameters import THE_WORKERS, Home, RecipeParameter, by_name
from evoembedding.flows.progress import tell
from evoembedding.flows.report.task import report
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.benchmark import MEMORY_OFF, MODEL, BenchmarkData, Encoder
from evoembedding.schemas.configs import Recipe, SimulatorConfig
from evoembedding.schemas.dataset import Evaluation
from evoembedding.schemas.episode import Draft
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.ids import content_id
from evoembedding.synth.simulator import generator, simulate, simulators
from evoembedding.synth.taxonomy import STATE_TYPES
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.own import own_questions
from evoembedding.warehouse.datasets.versions import resolve, trained_on
from evoembedding.warehouse.openlineage import assets
from evoembedding.warehouse.registry.labels import folder_of, model_of

GROUPS = {"state": STATE_TYPES}


def given(warehouse: Warehouse, models: Sequence[str], path: str | None, config: SimulatorConfig) -> Given:
    """What benchmarks are read from: a file, the simulator of held-out worlds, and what versions hold out of documents.

    `models` are those that will be asked: the version is by default that of the first, and none of them saw a question.
    """

    def own(label: str) -> BenchmarkData:
        version = resolve(warehouse, label, retired=True) if label else trained_on(warehouse, models[0])
        if version is None:
            raise EvoError(f"model {models[0]} was trained on no dataset version that is known; say own:NAME@N")
        return own_questions(warehouse, version, models)

    return Given(None if path is None else Path(path), *_worlds(config), own)


def _worlds(config: SimulatorConfig) -> tuple[str, Callable[[], Iterable[Draft]]]:
    """What the simulator's held-out worlds are called, and what makes them."""
    told = {"drafts": generator.fingerprint(config), "contexts": config.contexts}
    # Made when they are asked for: a benchmark of a file simulates nothing.
    return content_id("sim", told), lambda: simulate(config)


def heldout(recipe: Recipe) -> BenchmarkData:
    """The worlds that the recipe keeps apart from training."""
    return read_benchmark("heldout", Given(None, *_worlds(simulators(recipe)[1])))


def stored_scores(warehouse: Warehouse, model_id: str, benchmark: BenchmarkData) -> pl.DataFrame:
    """Score rows of a model on exactly what the benchmark holds now: none of a file that has changed since."""
    return warehouse.query(
        """select * from evaluations where model_id = ? and benchmark = ? and measured_on = ?
           order by system, question_type, metric""",
        (model_id, benchmark.name, benchmark.digest),
    )


def unscored(scores: pl.DataFrame) -> bool:
    """Whether the model, or a baseline that can run here, has no scores yet: there may be new ones."""
    return scores.is_empty() or not {one.name for one in runnable()} <= set(scores["system"])


@task(persist_result=False)
def score_systems(home: Path, model_id: str, benchmark: str, path: str | None, config: SimulatorConfig) -> pl.DataFrame:
    """Score every system on the benchmark and store the rows in one transaction."""
    from evoembedding.trainer.embedder import (  # torch takes seconds to import: mistakes are told before
        NAME,
        EvoEmbedder,
    )

    with Warehouse.open(home) as warehouse:
        model = model_of(warehouse, model_id, "nothing was evaluated")
        read = read_benchmark(benchmark, given(warehouse, [model.model_id], path, config))
        reads(assets.model(home, model), assets.benchmark(read), *([assets.source(path)] if path else []))
        folder = folder_of(warehouse, model, "nothing was evaluated")
        scored = set(stored_scores(warehouse, model_id, read)["system"])
        # Made one by one below: a system that is scored already is not even loaded.
        systems: dict[str, Callable[[], Encoder]] = {
            NAME: lambda: EvoEmbedder.load(folder),
            NAME + MEMORY_OFF: lambda: EvoEmbedder.load(folder, memory=False),
            **{one.name: one.make for one in runnable()},
        }
        frames = []
        for make in (make for name, make in systems.items() if name not in scored):
            system = make()
            tell(f"evaluate: {system.name} on {read.questions} questions of {benchmark}")
            frames.append(summarise(score(system, read.conversations), system.name, GROUPS))
        # After the last system, so that they are stored together: what is killed is scored again.
        rows = [_evaluation(model_id, read, row) for frame in frames for row in frame.iter_rows(named=True)]
        warehouse.append("evaluations", to_frame(Evaluation, rows))
        writes(assets.table("evaluations", warehouse.snapshot(), rows=len(rows)))
        stored = stored_scores(warehouse, model_id, read)
    if rows:
        # Where nothing was scored, nothing has come that others should hear of.
        told = {"benchmark": read.name, "measured_on": read.digest, "scores": _means(stored)[MODEL]}
        announce(home, "model.evaluated", ("model", model_id), payload=told)
        mirror(home)
    return stored


def _evaluation(model_id: str, benchmark: BenchmarkData, row: dict[str, object]) -> Evaluation:
    fields = {k: row[k] for k in ("system", "question_type", "metric", "value", "low", "high", "questions")}
    key = {k: fields[k] for k in ("system", "question_type", "metric")}
    measured = {"benchmark": benchmark.name, "measured_on": benchmark.digest}
    return Evaluation.model_validate(
        {
            # By what was measured, and not by the value: of two that score at once, one row is kept.
            "evaluation_id": content_id("eval", {"model": model_id, **measured, **key}),
            "model_id": model_id,
            "left_out": benchmark.left_out,
            **measured,
            **fields,
        }
    )


@flow(name="evaluate", persist_result=True, result_serializer="json")
@emits("evaluate", of="benchmark")
def evaluate(
    model: str,
    benchmark: str = "heldout",
    path: str | None = None,
    recipe: RecipeParameter = by_name("demo"),
    home: Home = THE_WORKERS,
) -> dict[str, Any]:
    """Score the model and the baselines, and write the model's report again; the means of each system in 0..1.

    Args:
        model: NAME@N, NAME@ALIAS such as NAME@champion, NAME for its newest version, an id or the beginning of one.
        benchmark: The benchmark's name.
        path: Its file, where it has one.
        recipe: Whose held-out worlds are scored on: the name of a recipe, a file, or its settings.
        home: The state folder; by default `$EVO_HOME` of the worker.
    """
    _, heldout = simulators(recipe)
    with Warehouse.open(home) as warehouse:
        model_id = model_of(warehouse, model, "nothing was evaluated").model_id
    scores = score_systems(home, model_id, benchmark, path, heldout)
    create_markdown_artifact(
        key="scores", markdown=markdown_table(scores, tuple(GROUPS)), description=f"{model_id} on {benchmark}"
    )
    report(home, model_id)
    return {
        "model": model_id,
        "benchmark": benchmark,
        "measured_on": scores["measured_on"][0],
        "scores": _means(scores),
    }


def _means(scores: pl.DataFrame) -> dict[str, dict[str, float]]:
    """By system and metric, over all questions."""
    overall = scores.filter((pl.col("question_type") == ALL) & pl.col("metric").is_in(OVERALL))
    means: dict[str, dict[str, float]] = {}
    for system, metric, value in overall.select("system", "metric", "value").iter_rows():
        means.setdefault(system, {})[metric] = value
    return means

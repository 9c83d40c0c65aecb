"""Writes the report of a dataset version or a model: gathers from the warehouse, fills the template, one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evoembedding.flows.report.diagram import narrow, wide
from evoembedding.flows.report.header import Fact, Model, Tile, dataset_tiles, facts, lead, model_tiles, moment
from evoembedding.flows.report.html import filled, written
from evoembedding.flows.report.lineage import layers
from evoembedding.flows.report.repeat import Repeat, Subject, repeat
from evoembedding.flows.report.samples import SampleView, view
from evoembedding.flows.report.shape import Bar, Chart, Funnel, bars, charts, figures, funnels
from evoembedding.flows.report.training import (
    Benchmark,
    Curves,
    Headline,
    benchmarks,
    headline,
    stored_metrics,
    training_curves,
)
from evoembedding.schemas.dataset import DatasetVersion, ModelRecord, TrainingRun
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.places import resolve as resolve_place
from evoembedding.trainer.training.job import METRICS
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.overview import documents_by_generator, models_of, samples, scores, version_funnel
from evoembedding.warehouse.datasets.statistics import Statistics, of_version, statistics
from evoembedding.warehouse.datasets.versions import list_versions, resolve, trained_on
from evoembedding.warehouse.lineage.trace import documents_of, trace
from evoembedding.warehouse.root import Root

SAMPLES = 6
DOCUMENTS = 200  # named on the page


@dataclass(frozen=True)
class ModelRow:
    """A model trained on the version, with its headline scores."""

    model_id: str
    steps: int
    final_loss: float
    created: str
    scores: list[Headline]


@dataclass(frozen=True)
class Page:
    """Everything that the template shows. Parts that are missing are empty; the template says so."""

    kind: str
    name: str
    label: str  # of the dataset version
    lead: str
    tiles: list[Tile]
    facts: list[Fact]
    lineage: tuple[Markup, Markup]
    models: list[ModelRow] | None  # None on a model's page
    benchmarks: list[Benchmark] | None  # None on a dataset's page
    curves: Curves | None
    funnels: list[Funnel]
    found: Statistics
    charts: list[Chart]
    figures: list[tuple[str, str, str]]
    types: list[Bar]
    families: list[Bar]
    generators: list[Bar]
    kinds: list[Bar]
    samples: list[SampleView]
    licences: list[Bar]
    documents: list[dict[str, Any]]
    repeat: Repeat


def write_report(warehouse: Warehouse, home: Path, identity: str, output: Path | None = None) -> Path:
    """Write the page of a model id or NAME@N to `output`, or to `home/reports`; where it is.

    Raises:
        EvoError: nothing has that name, or the file cannot be written.
    """
    page = gather(warehouse, identity)
    path = written(output or home / "reports" / f"{page.name}.html", render(page))
    if output is None:
        Root.of(home).publish(path)
    return path


def render(page: Page) -> str:
    """The page as HTML."""
    return filled("report.html.jinja", page)


def gather(warehouse: Warehouse, identity: str) -> Page:
    """What the page of a model id or NAME@N shows.

    Raises:
        EvoError: nothing has that name.
    """
    model = _model(warehouse, identity)
    version = _version(warehouse, identity, model)
    found = statistics(warehouse, of_version(version))
    documents = documents_of(warehouse, version.dataset_id)
    total = len(documents)
    name = model[0].model_id if model else version.label
    # The picture has totals alone, so that one sample a list is enough; with 0 every list would be whole.
    drawn = layers(trace(warehouse, identity, limit=1), documents_by_generator(warehouse, version), found.licences)
    # The picture in words, for those who do not see it.
    label = f"Lineage of {name}: " + ", then ".join(", ".join(f"{b.kind} {b.label}" for b in layer) for layer in drawn)
    of_model = scores(warehouse, [model[0].model_id]) if model else []
    return Page(
        kind="Model" if model else "Dataset version",
        name=name,
        label=version.label,
        lead=lead(version, found, model),
        tiles=model_tiles(model[1], of_model, version) if model else dataset_tiles(version, found, total),
        facts=facts(warehouse, version, model),
        lineage=(wide(drawn, label), narrow(drawn, label)),
        models=None if model else _models(warehouse, version),
        benchmarks=benchmarks(of_model) if model else None,
        curves=_curves(warehouse, model[0]) if model else None,
        funnels=funnels(version_funnel(warehouse, version)),
        found=found,
        charts=charts(found),
        figures=figures(found),
        types=bars(found.types),
        families=bars(found.families),
        generators=bars(found.generators),
        kinds=bars(found.kinds),
        samples=[view(sample) for sample in samples(warehouse, version, SAMPLES)],
        licences=bars(found.licences, "no licence stated"),
        documents=documents.head(DOCUMENTS).to_dicts(),
        repeat=repeat(_subject(version, model), total),
    )


def _curves(warehouse: Warehouse, model: ModelRecord) -> Curves:
    run = resolve_place(model.place, warehouse.home).parent
    return training_curves(run / METRICS, stored_metrics(warehouse, model.training_run_id))


def _model(warehouse: Warehouse, identity: str) -> Model | None:
    models = warehouse.query("SELECT * FROM lake.models WHERE model_id = ?", (identity,)).to_dicts()
    if not models:
        return None
    model = ModelRecord(**models[0])
    runs = warehouse.query("SELECT * FROM lake.training_runs WHERE training_run_id = ?", (model.training_run_id,))
    if runs.is_empty():
        raise EvoError(
            f"model '{identity}' names a training run that the warehouse lacks; no report was written; "
            "restore the warehouse from a copy"
        )
    return model, TrainingRun(**runs.row(0, named=True))


def _version(warehouse: Warehouse, identity: str, model: Model | None) -> DatasetVersion:
    if model:
        if version := trained_on(warehouse, model[0].model_id):
            return version
        raise EvoError(
            f"model '{identity}' was trained on shards whose dataset version the warehouse lacks; no report was "
            "written; restore the warehouse from a copy"
        )
    rows = warehouse.query("SELECT * FROM lake.dataset_versions WHERE dataset_id = ?", (identity,))
    if len(rows):
        return DatasetVersion(**rows.row(0, named=True))
    name = identity.partition("@")[0]
    if not any(name == version.name for version in list_versions(warehouse)):
        raise _unknown(warehouse, identity)
    return resolve(warehouse, identity)


def _unknown(warehouse: Warehouse, identity: str) -> EvoError:
    # By the order in which they were stored, which a clock that was set back does not change.
    models = warehouse.query("SELECT model_id FROM lake.models ORDER BY rowid DESC LIMIT 3")["model_id"]
    known = [*(version.label for version in list_versions(warehouse)[-3:]), *models]
    return EvoError(
        f"unknown model or dataset {identity[:80]!r}; no report was written; "
        + (f"try one of: {', '.join(known)}" if known else "the warehouse holds neither yet: publish a dataset first")
    )


def _models(warehouse: Warehouse, version: DatasetVersion) -> list[ModelRow]:
    return [
        ModelRow(
            row["model_id"],
            row["steps"],
            row["final_loss"],
            moment(row["created_at"]).partition(" ")[0],
            headline(row["scores"]),
        )
        for row in models_of(warehouse, version.dataset_id)
    ]


def _subject(version: DatasetVersion, model: Model | None) -> Subject:
    if model is None:
        return Subject(version=version)
    return Subject(version=version, model_id=model[0].model_id, config=model[1].config)

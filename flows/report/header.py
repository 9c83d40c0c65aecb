"""The head of a report: what it is about in a sentence, a few large figures, and ids and digests.

A version, its statistics and rows of a model come in; a sentence, tiles and lines go out, as the template shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evoembedding.flows.report.charts import counted, number
from evoembedding.flows.report.lineage import duration
from evoembedding.flows.report.training import headline
from evoembedding.schemas.dataset import DatasetVersion, ModelRecord, TrainingRun
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.statistics import PAPER, Statistics
from evoembedding.warehouse.datasets.versions import left_out, recipe_name
from evoembedding.warehouse.registry.labels import labels_of

Model = tuple[ModelRecord, TrainingRun]


@dataclass(frozen=True)
class Fact:
    """A line of the header; `value` is set as code where it is an id or a digest."""

    name: str
    value: str
    code: bool = False


@dataclass(frozen=True)
class Tile:
    """A large figure with what it counts, and a remark."""

    value: str
    name: str
    remark: str = ""


def lead(version: DatasetVersion, found: Statistics, model: Model | None) -> str:
    """In a sentence, what the page is about."""
    episodes = counted(version.episodes, "episode")
    # Of a version that was retired, nothing is left to be counted but what its row says.
    if found.contexts:
        episodes += f" on {counted(found.contexts, 'context')}"
    if model is None:
        return f"An immutable set of {episodes}, published {moment(version.created_at)}."
    return (
        f"An evolvable embedding model, trained {moment(model[1].created_at)} in {counted(model[1].steps, 'step')} on "
        f"{version.label}: {episodes}."
    )


def dataset_tiles(version: DatasetVersion, found: Statistics, documents: int) -> list[Tile]:
    """The large figures of a dataset version; those of the paper beside them."""
    episodes = Tile(f"{version.episodes:,}", "episodes", "EvoTrain-180K: 184,137")
    if not found.contexts:
        return [episodes]
    mean, paper = found.figures["segments, mean"], PAPER["segments, mean"]
    return [
        episodes,
        Tile(f"{found.contexts:,}", "contexts", " · ".join(f"{n:,} {kind}" for kind, n in found.kinds.items())),
        Tile(f"{mean:.1f}", "segments a context", f"paper {paper:g}"),
        Tile(f"{len(found.types):,}", "question types", counted(len(found.families), "family", "families")),
        Tile(f"{documents:,}", "source documents", ""),
    ]


def model_tiles(run: TrainingRun, rows: Sequence[dict[str, Any]], version: DatasetVersion) -> list[Tile]:
    """The large figures of a model, its scores first; `rows` are its evaluation rows."""
    tiles = []
    for title, metric, model, off, best in headline(rows)[:2]:
        if model:
            beside = [f"memory off {off.value:.1f}"] if off else []
            beside += [f"{best.system} {best.value:.1f}"] if best else []
            tiles.append(Tile(f"{model.value:.1f}", f"{metric}, {title}", " · ".join(beside)))
    return [
        *tiles,
        Tile(f"{version.episodes:,}", "training episodes", version.label),
        Tile(f"{run.steps:,}", "steps", duration(run.seconds)),
        Tile(number(run.final_loss), "final loss"),
    ]


def facts(warehouse: Warehouse, version: DatasetVersion, model: Model | None) -> list[Fact]:
    """Ids and digests, down to the commit and the recipe; what curation left out."""
    out = ", ".join(f"{count:,} {check.replace('_', ' ')}" for check, count in left_out(warehouse, version).items())
    of_model = []
    if model:
        record, run = model
        of_model = [
            Fact("named", ", ".join(labels_of(warehouse, record.model_id)) or "no name"),
            Fact("weights digest", record.digest, True),
            Fact("model folder", record.place, True),
            Fact("training run", run.training_run_id, True),
            Fact("shard set", run.shard_set_id, True),
            Fact("dataset version", f"{version.label} ({version.dataset_id})", True),
        ]
    return [
        *of_model,
        Fact("dataset digest" if model else "digest", version.digest, True),
        Fact("parent", version.parent or "none: the first of its name"),
        Fact("recipe", recipe_name(version.recipe)),
        Fact("git commit", version.git_commit or "not recorded", bool(version.git_commit)),
        Fact("snapshot", f"{version.snapshot}"),
        Fact("dataset published" if model else "created", moment(version.created_at)),
        Fact("left out", out or "nothing"),
    ]


def moment(when: datetime) -> str:
    """A time of the warehouse to the minute."""
    return f"{when:%Y-%m-%d %H:%M} UTC"

"""When a pipeline has nothing left to do: what was made counts as made under what its recipe means, not how it is
written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest

from evoembedding.flows.build_dataset import publish_version, shard_version
from evoembedding.flows.evaluate import heldout
from evoembedding.flows.pipeline import finished
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import CurationConfig, ModelConfig, Recipe, SimulatorConfig, TrainConfig
from evoembedding.schemas.dataset import Evaluation, ModelRecord, TrainingRun
from evoembedding.schemas.episode import Document
from evoembedding.schemas.identity import Born
from evoembedding.synth.documents import read_documents
from evoembedding.synth.simulator import drafts, simulate, simulators
from evoembedding.trainer.identity import training_run_id
from evoembedding.warehouse.catalog import Warehouse
from tests.records import score, trained_model, training_run

MODEL = "model-1"


class LaterSimulator(SimulatorConfig):
    """A simulator of later code, with a setting more."""

    pause: Annotated[int, Born(0)] = 0


class LaterModel(ModelConfig):
    """A model of later code."""

    gate: Annotated[bool, Born(False)] = False


class LaterTrain(TrainConfig):
    """Its training."""

    model: LaterModel = LaterModel()


class LaterRecipe(Recipe):
    """A recipe of later code."""

    simulator: LaterSimulator = LaterSimulator()
    train: LaterTrain = LaterTrain()
    note: Annotated[str, Born("")] = ""


def later(of: Recipe) -> LaterRecipe:
    """What later code makes of the same file."""
    return LaterRecipe.model_validate(of.model_dump())


@pytest.fixture(scope="module")
def small() -> Recipe:
    return recipe("smallest").replace(
        name="d", cloze=None, heldout_contexts=2, simulator=SimulatorConfig(contexts=6, min_segments=8, max_segments=9)
    )


@pytest.fixture(scope="module")
def home(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which everything was made, but for the weights."""
    home = tmp_path_factory.mktemp("home")
    with Warehouse.open(home) as warehouse:
        for config in simulators(small):
            commit_drafts(warehouse, simulate(config))
    publish_version.fn(home, "d", small)
    shards = shard_version.fn(home, "d@1", small.train.model)
    run = training_run_id(shards, small.train)
    rows = {
        "training_runs": to_frame(TrainingRun, [training_run("1", shards.shard_set_id).replace(training_run_id=run)]),
        "models": to_frame(ModelRecord, [trained_model("1", training_run_id=run)]),
        "evaluations": to_frame(Evaluation, [scored(small)]),
    }
    with Warehouse.open(home) as warehouse:
        warehouse.append_all(rows)
    return home


def scored(of: Recipe) -> Evaluation:
    """A score on the worlds that the recipe keeps apart."""
    benchmark = heldout(of)
    told = {"system": "EvoEmbedding", "metric": "Recall@1", "value": 0.5, "low": 0.4, "high": 0.6, "questions": 3}
    return score(MODEL, benchmark=benchmark.name, measured_on=benchmark.digest, **told)


@pytest.fixture(scope="module")
def source(home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A document that was ingested."""
    path = tmp_path_factory.mktemp("documents") / "one.txt"
    path.write_text("Nothing is asked about this text.")
    with Warehouse.open(home) as warehouse:
        warehouse.append(
            "documents", to_frame(Document, [d for d in read_documents(str(path)) if isinstance(d, Document)])
        )
    return str(path)


def test_what_was_made_is_finished(home: Path, small: Recipe, source: str) -> None:
    done = finished(home, small, source)
    assert done and done.model_id == MODEL


def test_scores_on_other_worlds_finish_nothing(
    home: Path, small: Recipe, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = drafts.render
    monkeypatch.setattr(drafts, "render", lambda *beat: told(*beat).replace(assistant="Told anew."))
    assert finished(home, small, source) is None


def test_fields_that_came_since_unfinish_nothing(home: Path, small: Recipe, source: str) -> None:
    assert "note" not in small.model_dump_json()
    done = finished(home, later(small), source)
    assert done and done.model_id == MODEL


def test_nor_do_settings_of_how_a_run_is_carried_out(home: Path, small: Recipe, source: str) -> None:
    assert finished(home, small.replace(train=small.train.replace(checkpoint_every=7)), source)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.replace(note="another"),
        lambda r: r.replace(simulator=r.simulator.replace(pause=3)),
        lambda r: r.replace(train=r.train.replace(model=r.train.model.replace(gate=True))),
        lambda r: r.replace(train=r.train.replace(steps=13)),
        lambda r: r.replace(curation=CurationConfig(near_duplicate=None)),
        lambda r: r.replace(name="other"),
    ],
)
def test_what_means_something_else_is_not_finished(change, home: Path, small: Recipe, source: str) -> None:  # type: ignore[no-untyped-def]
    assert finished(home, change(later(small)), source) is None

"""The index of a home: everything that it has is named, what has a page is linked, and nothing on it acts."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

from evoembedding.flows.decide import decide
from evoembedding.flows.made_by import made_by
from evoembedding.flows.recipes import recipe
from evoembedding.flows.report.index import write_index
from evoembedding.flows.report.page import write_report
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import ModelRecord, ShardSet, TrainingRun
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import publish
from evoembedding.warehouse.registry.decisions import keep_decision
from evoembedding.warehouse.registry.gates import keep
from evoembedding.warehouse.registry.versions import register
from tests.flows.report.test_page import Reader
from tests.records import gate_row, shard_set, trained_model, training_run

RECIPE = recipe("smallest")


def test_of_an_empty_home_it_says_what_is_missing(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        words = Reader(write_index(warehouse, tmp_path).read_text(encoding="utf-8")).words
    assert (tmp_path / "reports" / "index.html").exists()
    for missing in ("No model has", "No dataset has", "No gate has", "Nothing has been decided"):
        assert missing in words


def test_models_gates_and_decisions_are_on_it(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        commit_drafts(warehouse, simulate(RECIPE.simulator, 0, 4))
        version = publish(warehouse, "small", "{}", "unknown", made_by(RECIPE))
        model = trained_model("1")
        (tmp_path / model.place).mkdir(parents=True)
        warehouse.append("shard_sets", to_frame(ShardSet, [shard_set("1", version.dataset_id)]))
        warehouse.append("training_runs", to_frame(TrainingRun, [training_run("1", "shards-1")]))
        warehouse.append("models", to_frame(ModelRecord, [model]))
        register(warehouse, model, "support", "me")
        keep(warehouse, [gate_row("gate-1", "model-1", passed=False, direction="at_least")])
        keep_decision(warehouse, decide(warehouse, "support", RECIPE))
        words = Reader(write_index(warehouse, tmp_path).read_text(encoding="utf-8")).words
    assert "1 dataset versions 0 drafts 1 models 0 in use" in words
    assert "model-1 support@1, support@candidate refused small@1 5" in words
    assert "nothing refused heldout" in words
    assert "support retrain no model of this name is in use" in words


def test_what_has_a_page_is_linked(world: Any, tmp_path: Path) -> None:
    write_report(world.warehouse, world.home, "small@1", tmp_path / "small@1.html")
    page = Reader(write_index(world.warehouse, world.home, tmp_path / "index.html").read_text(encoding="utf-8"))
    links = [a["href"] for tag, a in page.elements if tag == "a" and not a["href"].startswith("#")]
    assert [unquote(link) for link in links] == ["small@1.html"]
    assert (tmp_path / unquote(links[0])).exists()
    for told in ("small@1", "model-scored", "model-bare"):
        assert told in page.words
    assert not {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "form", "base"}

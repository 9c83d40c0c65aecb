"""Whether a model is trained again: each reason alone, none, several, on warehouses that hold what they are about."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evoembedding.flows.decide import decide, situation
from evoembedding.flows.made_by import made_by
from evoembedding.flows.recipes import recipe as named_recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.benchmark import MODEL
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.dataset import Evaluation, ModelRecord, ShardSet, TrainingRun
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.moments import now
from evoembedding.schemas.retraining import RetrainDecision, RetrainPolicy
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import publish
from evoembedding.warehouse.lineage.withdrawal import withdraw
from evoembedding.warehouse.registry.decisions import decisions, keep_decision
from evoembedding.warehouse.registry.gates import keep
from evoembedding.warehouse.registry.promotion import promote, rollback
from evoembedding.warehouse.registry.versions import register
from tests import warm
from tests.records import gate_row, score, shard_set, trained_model, training_run
from tests.warehouse.world import make_documents, opened_copy

RECIPE = named_recipe("smallest")
NO_REASON = {"new_documents": 0, "new_share": 0, "withdrawn": False, "new_episodes": 10**6}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`support@1`, ten days old, is in use: it was trained on all that there is, four dialogues and three documents."""
    home: Path = tmp_path_factory.mktemp("made") / "home"
    with Warehouse.open(home) as warehouse:
        warehouse.append("documents", make_documents(3))
        commit_drafts(warehouse, simulate(RECIPE.simulator, 0, 4))
        version = publish(warehouse, "small", RECIPE.model_dump_json(), "unknown", made_by(RECIPE))
        warehouse.append("shard_sets", to_frame(ShardSet, [shard_set("1", version.dataset_id)]))
        add_model(warehouse, "1", days=10)
        keep(warehouse, [gate_row("gate-1", "model-1", passed=None)])
        promote(warehouse, "support@1", "me")
    return home


@pytest.fixture
def warehouse(made: Path, tmp_path: Path) -> Iterator[Warehouse]:
    """A copy of it."""
    with opened_copy(made, tmp_path / "home") as opened:
        yield opened


def add_model(warehouse: Warehouse, name: str, days: float = 0) -> ModelRecord:
    """A model with a folder, of the one shard set, as the next version of `support`."""
    model = trained_model(name, created_at=now() - timedelta(days=days))
    (warehouse.home / model.place).mkdir(parents=True)
    run = training_run(name, "shards-1")
    warehouse.append_all({"training_runs": to_frame(TrainingRun, [run]), "models": to_frame(ModelRecord, [model])})
    register(warehouse, model, "support", "me")
    return model


def by(**policy: Any) -> Recipe:
    """The recipe with this policy, and no other bound."""
    return RECIPE.replace(retrain=RetrainPolicy(**{**NO_REASON, **policy}))


def documents(warehouse: Warehouse) -> None:
    warehouse.append("documents", make_documents(5))


def episodes(warehouse: Warehouse) -> None:
    commit_drafts(warehouse, simulate(RECIPE.simulator, 4, 5))


def withdrawal(warehouse: Warehouse) -> None:
    episode = warehouse.query("SELECT min(episode_id) FROM lake.episodes").item()
    withdraw(warehouse, episode, "", "me", "unknown")


def scored(warehouse: Warehouse) -> None:
    row = score("model-1", system=MODEL, metric="nDCG@10", value=0.5)
    warehouse.append("evaluations", to_frame(Evaluation, [row]))


def measured_by_a_gate(warehouse: Warehouse) -> None:
    keep(warehouse, [gate_row("gate-9", "model-9", "model-1", baseline_value=0.5)])


def nothing(warehouse: Warehouse) -> None:
    pass


@pytest.mark.parametrize(
    ("policy", "happens", "told"),
    [
        ({"new_documents": 2}, documents, ["2 documents are new, of 2 that are asked for"]),
        ({"new_documents": 3}, documents, []),
        ({"new_episodes": 2}, episodes, ["episodes are new, of 2 that are asked for"]),
        ({"new_episodes": 500}, episodes, []),
        ({"new_share": 0.05}, episodes, ["that it was trained on, of 5.0% that are asked for"]),
        ({"new_share": 0.9}, episodes, []),
        ({"older_than_days": 9}, nothing, ["it is 10.0 days old, of 9 at most"]),
        ({"older_than_days": 11}, nothing, []),
        ({"withdrawn": True}, withdrawal, ["episodes that it was trained on were made from what has been withdrawn"]),
        ({"withdrawn": True}, nothing, []),
        ({}, withdrawal, []),
        ({"score_below": 0.6}, scored, ["its nDCG@10 was last measured as 0.500, of 0.6 at least"]),
        ({"score_below": 0.6}, measured_by_a_gate, ["its nDCG@10 was last measured as 0.500"]),
        ({"score_below": 0.5}, scored, []),
        ({"score_below": 0.6, "score_metric": "MRR"}, scored, []),
        ({"new_documents": 1, "older_than_days": 1}, documents, ["2 documents are new", "it is 10.0 days old"]),
        ({"new_documents": 1, "not_within_days": 9}, documents, ["2 documents are new"]),
        ({"withdrawn": True, "not_within_days": 11}, withdrawal, ["has been withdrawn"]),
    ],
)
def test_each_bound_is_a_reason_by_itself(
    warehouse: Warehouse, policy: dict[str, Any], happens: Callable[[Warehouse], None], told: list[str]
) -> None:
    happens(warehouse)
    found = decide(warehouse, "support", by(**policy))
    assert found.decision == ("retrain" if told else "keep")
    assert len(found.reasons) == max(1, len(told))
    for reason, expected in zip(found.reasons, told or ["no bound of the policy is reached"], strict=True):
        assert expected in reason
    assert (found.champion_id, bool(found.situation)) == ("model-1", bool(told))


def test_a_young_model_stays(warehouse: Warehouse) -> None:
    documents(warehouse)
    found = decide(warehouse, "support", by(new_documents=1, not_within_days=11))
    assert (found.decision, found.reasons) == ("keep", ("it is 10.0 days old, and stays for 11",))


def test_where_no_model_is_in_use_one_is_trained(warehouse: Warehouse) -> None:
    found = decide(warehouse, "sales", by())
    assert (found.decision, found.reasons) == ("retrain", ("no model of this name is in use",))
    assert (found.champion_id, found.age_days, found.new_documents) == ("", None, 3)


@pytest.mark.parametrize("outcome", ["refused", "unjudged", "unchanged", "failed", "promoted"])
def test_what_was_tried_is_not_tried_again(warehouse: Warehouse, outcome: str) -> None:
    """Of the same data, training gives the same model. What failed is tried again."""
    documents(warehouse)
    asked = by(new_documents=1)
    first = decide(warehouse, "support", asked)
    keep_decision(warehouse, first)
    assert decide(warehouse, "support", asked) == first  # it was begun, and has not ended
    episodes(warehouse)  # by the run itself
    there = situation(warehouse, first.champion_id, asked)
    ended = first.replace(sequence=2, outcome=outcome, model_id="model-2", situation=there, created_at=now())
    keep_decision(warehouse, ended)
    assert decisions(warehouse, "support") == [ended]
    if outcome == "promoted":  # and rolled back since: nobody's word is undone
        model = add_model(warehouse, "2")
        keep(warehouse, [gate_row("gate-2", model.model_id, "model-1")])
        promote(warehouse, "support@2", "me")
        rollback(warehouse, "support", "me", "users complain")
    again = decide(warehouse, "support", asked)
    assert again.decision == ("retrain" if outcome == "failed" else "keep")
    if outcome != "failed":
        assert f"nothing has come since decision {first.decision_id}" in again.reasons[0]
    warehouse.append("documents", make_documents(6))
    assert decide(warehouse, "support", asked).decision == "retrain"


def test_a_name_or_metric_that_cannot_be_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(EvoError, match="'small' is the name of a dataset"):
        decide(warehouse, "small", RECIPE)
    with pytest.raises(EvoError, match="are both named 'smallest'; nothing was decided"):
        decide(warehouse, "smallest", RECIPE)
    with pytest.raises(EvoError, match="asks for 'nDGC', which is not measured; nothing was decided"):
        decide(warehouse, "support", by(score_below=0.5, score_metric="nDGC"))


def test_a_policy_that_cannot_be_kept_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="not_within_days is to be 1 at most"):
        RetrainPolicy(older_than_days=1, not_within_days=2)
    with pytest.raises(ValidationError, match="no model is ever trained again"):
        RetrainPolicy(new_documents=0, new_share=0, withdrawn=False)
    (tmp_path / "mine.toml").write_text("[retrain]\nolder_than_days = 1\nnot_within_days = 2\n")
    with pytest.raises(EvoError, match=r"retrain: a model that is older than 1 days .*; nothing was run"):
        named_recipe(str(tmp_path / "mine.toml"))


LIGHT = """
import sys
from evoembedding.flows.commands.entry import main
try:
    main()
finally:
    print([name for name in ("torch", "prefect", "transformers", "openai") if name in sys.modules], file=sys.stderr)
"""


def test_to_decide_no_starts_neither_prefect_nor_torch(warehouse: Warehouse) -> None:
    """And every decision is a row, but for that of a dry run."""
    environ = {**os.environ, "EVO_HOME": str(warehouse.home), "COLUMNS": "200"}
    words = ["retrain", "support", "--recipe", "smallest"]
    dry = warm.run([*words, "--dry-run"], environ)
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "support would stay as it is: no bound of the policy is reached (0 new documents, 0 new ep" in dry.stdout
    assert decisions(warehouse, "support") == []
    done = subprocess.run([sys.executable, "-c", LIGHT, *words, "--json"], env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    (row,) = decisions(warehouse, "support")
    assert RetrainDecision.model_validate_json(done.stdout.replace(', "dry_run": false', "")) == row
    assert (row.decision, row.outcome, row.sequence, row.decided_by != "") == ("keep", "", 1, True)
    episodes(warehouse)
    dry = warm.run([*words, "--dry-run", "--json"], environ)
    assert (dry.returncode, '"decision": "retrain"' in dry.stdout) == (0, True)
    assert decisions(warehouse, "support") == [row]

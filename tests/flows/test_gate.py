"""A gate as a user runs it: what each exit code means, what is stored, and that promotion goes by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import ModelRecord, TrainingRun
from evoembedding.schemas.ids import content_id
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.openlineage.event_log import read_events
from tests import warm

RULES = {
    "mine": '{metric = "nDCG@10", not_worse_than = 0.01}, {metric = "MRR", at_least = 0.01}',
    "strict": '{metric = "Recall@1", at_least = 0.9}, {metric = "MRR", at_least = 0.01}',
    "better": '{metric = "nDCG@10", better_than = 0.0}',
    "odd": '{metric = "Hit@3", not_worse_than = 0.01}',
    "typo": '{question_slice = "lastest", not_worse_than = 0.01}',
    "few": '{question_slice = "first", not_worse_than = 0.01}',
}


def evo(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(words, {**os.environ, "EVO_HOME": str(home), "COLUMNS": "200"})


def evo_ok(home: Path, *words: str) -> str:
    done = evo(home, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(home: Path, model: str) -> list[dict[str, Any]]:
    with Warehouse.open(home) as warehouse:
        return warehouse.query(
            """SELECT g.* FROM gate_rules g JOIN registered_models r USING (model_id)
               WHERE r.name || '@' || r.number = ? ORDER BY g.created_at, g.rule""",
            (model,),
        ).to_dicts()


@pytest.fixture(scope="module")
def world(demo: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A demo whose model is `support@1`, a model of the same weights as `support@2`, and recipes by their rules."""
    folder = tmp_path_factory.mktemp("gated")
    home: Path = demo.copy(folder / "home")
    evo_ok(home, "train", "smallest@1", "--recipe", "smallest", "--name", "support")
    with Warehouse.open(home) as warehouse:
        model = ModelRecord(**warehouse.query("SELECT * FROM lake.models").row(0, named=True))
        run = TrainingRun(**warehouse.query("SELECT * FROM lake.training_runs").row(0, named=True))
        run = run.replace(training_run_id=content_id("run", {"test": "equal"}))
        place = f"runs/{run.training_run_id}/model"
        shutil.copytree(home / model.place, home / place)
        equal = model.replace(
            model_id=content_id("model", {"test": "equal"}), training_run_id=run.training_run_id, place=place
        )
        warehouse.append_all({"training_runs": to_frame(TrainingRun, [run]), "models": to_frame(ModelRecord, [equal])})
    evo_ok(home, "model", "register", equal.model_id, "support")
    recipes = {}
    for name, rules in RULES.items():
        recipes[name] = str(folder / f"{name}.toml")
        Path(recipes[name]).write_text(
            f'base = "smallest"\n[gate]\nbenchmark = "heldout"\nguards = []\nmin_questions = 20\nrules = [{rules}]\n',
            encoding="utf-8",
        )
    return home, recipes


@pytest.mark.slow
def test_from_the_first_of_its_name_to_its_equal(world: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    home, recipes = Path(shutil.copytree(world[0], tmp_path / "home")), world[1]
    refused = evo(home, "gate", "support@1", "--recipe", recipes["strict"])
    assert refused.returncode == 3, refused.stderr
    assert "is refused; there is no champion to compare it with, so that it was judged by the 2 rules" in refused.stdout
    assert evo(home, "model", "promote", "support@1").returncode == 1
    first = evo_ok(home, "gate", "support@1", "--recipe", recipes["mine"])
    assert "by the 1 rules of kind at_least alone" in first
    evo_ok(home, "model", "promote", "support@1")
    # Of the same weights, every question is answered alike: an equal may follow, and is not called better.
    assert evo(home, "gate", "support@2", "--recipe", recipes["better"]).returncode == 3
    refusal = evo(home, "model", "promote", "support@2")
    assert refusal.returncode == 1
    assert "nDCG@10 on all: it is better by +0.000 or more, and more than 0 is asked for" in refusal.stderr
    assert json.loads(evo_ok(home, "model", "show", "support@champion", "--json"))["number"] == 1
    told = json.loads(evo_ok(home, "gate", "support@candidate", "--recipe", recipes["mine"], "--json"))
    again = evo(home, "gate", "support@2", "--recipe", recipes["mine"], "--json")
    assert "it is judged already" in again.stderr
    assert json.loads(again.stdout) == told
    # The newest gate decides, also where it had judged before another did.
    assert evo(home, "gate", "support@2", "--recipe", recipes["better"]).returncode == 3
    assert evo(home, "model", "promote", "support@2").returncode == 1
    told = json.loads(evo_ok(home, "gate", "support@2", "--recipe", recipes["mine"], "--json"))
    promoted = json.loads(evo_ok(home, "model", "promote", "support@candidate", "--json"))
    assert (promoted["champion"], promoted["before"]) == ("support@2", "support@1")
    assert promoted["gate_id"] == told["gate_id"]
    stored = [row for row in rows(home, "support@2") if row["baseline_id"]]
    assert [row["gate_id"] for row in stored].count(told["gate_id"]) == 2
    assert [(row["direction"], row["passed"]) for row in stored[3:]] == [
        ("better_than", False),
        ("not_worse_than", True),
        ("at_least", True),
    ]
    assert [(row["direction"], row["passed"]) for row in stored[:3]] == [
        ("better_than", False),
        ("not_worse_than", True),
        ("at_least", True),
    ]
    for row in stored:
        assert (row["questions"], row["conversations"], row["recipe"]) == (48, 8, row["recipe"])
        assert row["value"] == row["baseline_value"]
        assert (row["low"], row["high"]) == (0, 0) or row["direction"] == "at_least"
        assert row["decided_by"]
        assert row["measured_on"]
    ends = [event for event in read_events(home) if event["eventType"] == "COMPLETE" and "gate" in event["job"]["name"]]
    assert len(ends) == 4
    assert len([one for one in ends[-1]["inputs"] if "/models/" in one["name"]]) == 2
    compared = json.loads(evo_ok(home, "model", "compare", "support@1", "support@2", "--json"))
    assert compared["gate"]["gate_id"] == told["gate_id"]
    assert "Where they differ" in evo_ok(home, "model", "compare", "support@1", "support@2")
    told_of = json.loads(evo_ok(home, "model", "history", "support", "--json"))
    assert [row["what"] for row in told_of if not row["alias"]] == [
        *("refused", "blessed"),
        *("refused", "blessed", "refused", "blessed"),
    ]
    assert "Recall@1 on all" in told_of[2]["reason"]
    # Back, and the gate between the two still counts.
    evo_ok(home, "model", "rollback", "support")
    assert json.loads(evo_ok(home, "model", "promote", "support@2", "--json"))["gate_id"] == told["gate_id"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("support@1", "odd"), 1, "metric 'Hit@3', which was not measured; nothing was judged"),
        (("support@1", "typo"), 1, "slice 'lastest', which was not measured; nothing was judged"),
        (("support@2", "few", "--against", "support@1"), 1, ""),
        (("support@2", "mine", "--against", "support@2"), 1, "is model"),
        (("support@2", "mine", "--against", "support@none"), 1, "no version and no alias 'none'"),
        (("nothing", "mine"), 1, "unknown model 'nothing'; nothing was judged"),
        (("support@2", "mine", "--benchmark", "locomo"), 1, "needs --path FILE; nothing was judged"),
        (("support@2", "nothing"), 1, "unknown recipe 'nothing'"),
    ],
)
def test_what_cannot_be_judged(
    world: tuple[Path, dict[str, str]], words: tuple[str, ...], code: int, says: str
) -> None:
    home, recipes = world
    model, recipe, *others = words
    done = evo(home, "gate", model, "--recipe", recipes.get(recipe, recipe), *others)
    assert done.returncode == code
    assert "Traceback" not in done.stderr + done.stdout
    if says:
        assert says in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    else:
        assert "is unjudged" in done.stdout
        assert "not judged for want of questions: first" in done.stdout


def test_a_champion_whose_folder_is_gone(world: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    home, recipes = Path(shutil.copytree(world[0], tmp_path / "home")), world[1]
    evo_ok(home, "model", "promote", "support@1", "--force", "--why", "the first")
    shutil.rmtree(json.loads(evo_ok(home, "model", "show", "support@1", "--json"))["path"])
    before = rows(home, "support@2")
    done = evo(home, "gate", "support@2", "--recipe", recipes["mine"])
    assert done.returncode == 1
    assert "(support@1, support@champion) is gone" in done.stderr
    assert "nothing was judged" in done.stderr
    assert rows(home, "support@2") == before

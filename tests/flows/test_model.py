"""Models by name, as a user works with them: trained, named, promoted, rolled back and loaded."""

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
from evoembedding.schemas.episode import Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.ids import content_id
from evoembedding.trainer.embedder import EvoEmbedder
from evoembedding.warehouse.catalog import Warehouse
from tests import warm

TRAINED = ("train", "smallest@1", "--recipe", "smallest", "--name", "support")


def evo(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(words, {**os.environ, "EVO_HOME": str(home), "COLUMNS": "200"})


def told(home: Path, *words: str) -> Any:
    done = evo(home, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def another(home: Path, name: str) -> str:
    """A further model of the same run and weights, in a folder of its own; its id."""
    with Warehouse.open(home) as warehouse:
        model = ModelRecord(**warehouse.query("SELECT * FROM lake.models ORDER BY rowid").row(0, named=True))
        run = TrainingRun(**warehouse.query("SELECT * FROM lake.training_runs ORDER BY rowid").row(0, named=True))
        run = run.replace(training_run_id=content_id("run", {"test": name}))
        place = f"runs/{run.training_run_id}/model"
        shutil.copytree(home / model.place, home / place)
        model = model.replace(
            model_id=content_id("model", {"test": name}), training_run_id=run.training_run_id, place=place
        )
        warehouse.append_all({"training_runs": to_frame(TrainingRun, [run]), "models": to_frame(ModelRecord, [model])})
    return model.model_id


@pytest.fixture(scope="module")
def home(demo: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo whose model is `support@1`, the champion, with `support@2` beside it."""
    made: Path = demo.copy(tmp_path_factory.mktemp("named") / "home")
    done = evo(made, *TRAINED)
    assert done.returncode == 0, done.stderr
    assert "support@1, support@candidate" in done.stdout
    assert evo(made, "model", "promote", "support@1", "--force", "--why", "the first").returncode == 0
    assert told(made, "model", "register", another(made, "second"), "support")["label"] == "support@2"
    return made


def test_training_again_keeps_the_number(home: Path) -> None:
    again = told(home, *TRAINED)
    assert again["named"] == ["support@1", "support@champion"]
    assert "trained already" in evo(home, *TRAINED).stderr


def test_an_ablation_is_not_taken_for_the_name(home: Path) -> None:
    done = evo(home, *TRAINED[:-1], "smallest", "--ablate", "no-queue")
    assert "'smallest' is the name of a dataset" in done.stderr


def test_a_label_stands_for_the_id_everywhere(home: Path) -> None:
    model = told(home, "model", "show", "support@champion")
    assert (model["state"], model["trained_on"], model["there"]) == ("champion", "smallest@1", True)
    identity = model["model_id"]
    assert told(home, "trace", "support@champion")["id"] == identity
    assert told(home, "impact", "support@1")["id"] == identity
    assert told(home, "report", "support@champion")["report"].endswith(f"{identity}.html")
    assert {row["model_id"] for row in told(home, "evaluate", "support@champion", "--recipe", "smallest")} == {identity}
    tree = json.dumps(told(home, "impact", "smallest@1"))
    assert "support@1, support@champion" in tree


def test_the_embedder_takes_a_label(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVO_HOME", str(home))
    place = told(home, "model", "show", "support@champion")["path"]
    by_name, by_folder = EvoEmbedder.load("support@champion"), EvoEmbedder.load(place)
    segments = [Segment(user="I moved to Lisbon."), Segment(user="The cat sleeps.")]
    assert (by_name.score(segments, ["Where?"]) == by_folder.score(segments, ["Where?"])).all()
    with pytest.raises(EvoError, match="no alias 'stable'"):
        EvoEmbedder.load("support@stable")
    with pytest.raises(EvoError, match="unknown model 'nothing'; nothing was embedded"):
        EvoEmbedder.load("nothing")
    monkeypatch.setenv("EVO_HOME", str(home / "not" / "there"))
    with pytest.raises(EvoError, match="model folder 'support@champion' cannot be used: it is not there"):
        EvoEmbedder.load("support@champion")


def test_promotion_rollback_and_history(home: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(home, tmp_path / "home"))
    refused = evo(own, "model", "promote", "support@2")
    assert refused.returncode == 1
    assert "no gate has judged support@2 against the champion, support@1" in refused.stderr
    assert evo(own, "model", "promote", "support@2", "--force").returncode == 2
    assert told(own, "model", "promote", "support@2", "--force", "--why", "try")["before"] == "support@1"
    again = evo(own, "model", "promote", "support@2")
    assert (again.returncode, again.stdout.strip()) == (0, "support@2 is the champion already")
    assert told(own, "model", "rollback", "support", "--why", "users complain")["champion"] == "support@1"
    assert [row["state"] for row in told(own, "model", "list")] == ["champion", "replaced"]
    moves = told(own, "model", "history", "support")
    champions = [(row["number"], row["what"], row["reason"]) for row in moves if row["alias"] == "champion"]
    assert champions == [(1, "forced", "the first"), (2, "forced", "try"), (1, "rolled back", "users complain")]
    assert all(row["by"] for row in moves)
    shown = evo(own, "model", "history", "support").stdout
    assert "users complain" in shown
    assert "forced" in shown
    assert told(own, "model", "tag", "support@2", "stable")["number"] == 2
    assert evo(own, "model", "tag", "support", "stable", "--remove").stdout.strip() == "support@stable is removed"


def test_a_champion_whose_folder_is_gone_is_one_sentence(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copytree(home, tmp_path / "home"))
    shutil.rmtree(told(own, "model", "show", "support@champion")["path"])
    assert told(own, "model", "show", "support@champion")["there"] is False
    monkeypatch.setenv("EVO_HOME", str(own))
    with pytest.raises(
        EvoError, match=r"\(support@1, support@champion\) is gone: .*; nothing was embedded; restore it"
    ):
        EvoEmbedder.load("support@champion")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("model", "show", "nothing"), "no model is named 'nothing'"),
        (("model", "show", "support@7"), "no version and no alias '7'"),
        (("evaluate", "support@stable"), "no version and no alias 'stable'"),
        (("trace", "support@stable"), "no version and no alias 'stable'"),
        (("model", "register", "model-none", "other"), "unknown model 'model-none'; nothing was registered"),
        (("model", "register", "support@1", "smallest"), "'smallest' is the name of a dataset"),
        (("train", "smallest@1", "--recipe", "smallest", "--name", "smallest"), "'smallest' is the name of a dataset"),
        (("dataset", "publish", "support", "--recipe", "smallest"), "'support' is the name of a model"),
        (("model", "rollback", "support"), "support@1 is its first"),
        (("model", "rollback", "nothing"), "no model is named 'nothing'"),
        (("model", "tag", "support@1", "champion"), "'evo model promote' and 'evo model rollback' move it"),
        (("model", "history", "x" * 300), "no model is named"),
    ],
)
def test_mistakes_are_one_sentence(home: Path, words: tuple[str, ...], says: str) -> None:
    done = evo(home, *words)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1

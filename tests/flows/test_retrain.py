"""From a decision to a champion as a user runs it: gates that cannot judge, the first of a name, nothing new, a kill,
a refusal, a successor.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.registry.decisions import decisions
from tests.runs import ranks_of
from tests.warm import command

pytestmark = pytest.mark.slow
# By gates that cannot judge what demo has made: how the decision ends, and what the command says.
UNABLE = {
    "benchmark = 'locomo'\npath = 'missing.json'": ("failed", "missing.json"),
    "benchmark = 'heldout'\nmin_questions = 100000\nguards = []\nrules = [{metric = 'nDCG@10', at_least = 0.0}]": (
        "unjudged",
        "could not be judged by gate",
    ),
}
DEADLINE_S = 600.0
MINE = """base = "smallest"
name = "smallest"
[simulator]
contexts = 68
[retrain]
new_documents = 1
[gate]
guards = []
rules = [{{metric = "nDCG@10", at_least = {least}}}]
"""


def test_a_model_is_trained_again_where_there_is_a_reason_to(
    demo: Any, evo: Callable[..., subprocess.CompletedProcess[str]], prefect_url: str, tmp_path: Path
) -> None:
    home: Path = demo.copy(tmp_path / "home")
    recipes = {name: str(tmp_path / f"{name}.toml") for name in ("strict", "mild")}
    Path(recipes["strict"]).write_text(MINE.format(least=0.999))
    Path(recipes["mild"]).write_text(MINE.format(least=0.001))

    def retrain(recipe: str, code: int) -> dict[str, Any]:
        done = evo("retrain", "support", "--recipe", recipes.get(recipe, recipe), "--json")
        assert done.returncode == code, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    for gate, (outcome, says) in UNABLE.items():
        (tmp_path / "unable.toml").write_text(f'base = "smallest"\nname = "smallest"\n[gate]\n{gate}\n')
        done = evo("retrain", "support", "--recipe", str(tmp_path / "unable.toml"))
        assert done.returncode == 1
        assert says in done.stderr.splitlines()[-1]
        with Warehouse.open(home) as warehouse:
            assert decisions(warehouse, "support")[-1].outcome == outcome
    # There is no champion, so that a gate which only compares has nothing to hold against the model.
    asked = ("retrain", "support", "--recipe", "smallest", "--json")
    done = evo(*asked, MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("(MLFLOW_TRACKING_URI)") == 2  # by training and by the promotion, which it did not fail
    first = json.loads(done.stdout)
    assert (first["outcome"], first["reasons"]) == ("promoted", ["no model of this name is in use"])
    assert first["flow_run_id"]
    assert retrain("smallest", 0)["decision"] == "keep"

    (tmp_path / "notes.txt").write_text("The archive of Evora keeps charts of rivers. Its keeper is Inês Valadão. " * 9)
    assert evo("ingest", str(tmp_path / "notes.txt")).returncode == 0
    environ = {**os.environ, "EVO_HOME": str(home), "PREFECT_API_URL": prefect_url}
    killed = subprocess.Popen(
        command("retrain", "support", "--recipe", recipes["strict"]),
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    runs = {path.name for path in (home / "runs").iterdir()}
    deadline = time.monotonic() + DEADLINE_S
    while not (begun := {path.name for path in (home / "runs").iterdir()} - runs):
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    while any(ranks_of(home / "runs" / run) for run in begun):  # they end when the command has
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with Warehouse.open(home) as warehouse:
        stopped = decisions(warehouse, "support")[-1]
    assert (stopped.decision, stopped.outcome, stopped.new_documents) == ("retrain", "", 1)

    refused = retrain("strict", 3)
    assert (refused["decision_id"], refused["outcome"]) == (stopped.decision_id, "refused")
    assert refused["dataset"] == "smallest@2"
    champion = json.loads(evo("model", "show", "support@champion", "--json").stdout)
    assert (champion["label"], champion["model_id"]) == ("support@1", first["model_id"])
    again = retrain("strict", 0)
    assert again["decision"] == "keep"
    assert f"since decision {stopped.decision_id}" in again["reasons"][0]

    # By another gate the same model may follow; it is not trained anew.
    promoted = retrain("mild", 0)
    assert (promoted["outcome"], promoted["model_id"]) == ("promoted", refused["model_id"])
    champion = json.loads(evo("model", "show", "support@champion", "--json").stdout)
    assert (champion["label"], champion["state"]) == ("support@2", "champion")
    # The flow that was refused, by its id: all that there is has been trained on, and this one decides no.
    rerun = evo("rerun", refused["flow_run_id"], "--json")
    assert rerun.returncode == 0, rerun.stderr
    assert (json.loads(rerun.stdout)["flow"], json.loads(rerun.stdout)["result"]["decision"]) == ("retrain", "keep")
    with Warehouse.open(home) as warehouse:
        told = [(one.decision, one.outcome, one.new_documents) for one in decisions(warehouse, "support")]
        assert len(warehouse.query("SELECT * FROM lake.models")) == 2
    assert told == [
        *(("retrain", "failed", told[0][2]), ("retrain", "unjudged", told[0][2])),
        *(("retrain", "promoted", told[0][2]), ("keep", "", 0)),
        *(("retrain", "refused", 1), ("keep", "", 1), ("retrain", "promoted", 1), ("keep", "", 0)),
    ]

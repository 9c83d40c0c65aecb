"""A part of a run, a look at it beforehand, the next version by the same recipe, and the same run again or twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

import evoembedding.flows.synthesize as tasks
from evoembedding.flows.alone import alone
from evoembedding.flows.build_dataset import publish_version
from evoembedding.flows.commands.rerun import _check
from evoembedding.flows.pending import Only, chosen, finished, work
from evoembedding.flows.preview import preview
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.episode import Document
from evoembedding.schemas.errors import EvoError, RefusedError
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.openlineage.event_log import read_events, runs
from evoembedding.warehouse.tables import TABLES
from tests import warm
from tests.flows.offline import TEXTS, small_recipe, without_prefect


@pytest.fixture
def no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    without_prefect(monkeypatch)


@pytest.fixture(scope="module")
def small() -> Recipe:
    return small_recipe()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small: Recipe) -> Path:
    """A state folder in which two documents of three are worked on, and `d@1` is published. Nobody may change it."""
    home = tmp_path_factory.mktemp("made") / "home"
    with pytest.MonkeyPatch.context() as patched:
        without_prefect(patched)
        add(home, 0, 1)
        synthesize(home, small)
    publish_version.fn(home, "d", small)
    add(home, 2)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "home"))


def add(home: Path, *numbers: int) -> None:
    documents = [
        Document(document_id=f"doc-{n}", source_id=str(n), title="", uri="", license="", text=TEXTS[n]) for n in numbers
    ]
    with Warehouse.open(home) as warehouse:
        warehouse.append("documents", to_frame(Document, documents))


def synthesize(home: Path, of: Recipe, *only: str) -> int:
    return int(tasks.synthesize.fn.__wrapped__(of, list(only), home=home)["new_episodes"])


def tables(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the warehouse holds, and the snapshot that it is at."""
    with Warehouse.open(home) as warehouse:
        rows = {name: warehouse.query(f"SELECT * FROM lake.{name} ORDER BY ALL").rows() for name in TABLES}
        return {**rows, "snapshot": [(warehouse.snapshot(),)]}


def evo(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(words, {**os.environ, "EVO_HOME": str(home), "COLUMNS": "200"})


def test_a_preview_is_what_a_run_makes_and_stores_nothing(home: Path, small: Recipe, no_prefect: None) -> None:
    before = tables(home)
    shown = preview(home, small, 3)
    assert tables(home) == before
    assert [(item.kind, item.item) for item in shown.items] == [
        *(("simulator train", f"seed {n}") for n in range(3)),
        *(("cloze", f"doc-{n}") for n in range(3)),
    ]
    assert (shown.cost, shown.paid_now, shown.a_kept_episode) == (0, 0, 0)
    assert shown.kept == sum(item.kept for item in shown.items) > 0
    synthesize(home, small)
    with Warehouse.open(home) as warehouse:
        asked = set(warehouse.query("SELECT question, answer FROM lake.episodes").rows())
        rejected = set(warehouse.query("SELECT text, answer FROM lake.questions").rows()) - asked
    for one in (one for item in shown.items for one in item.questions):
        assert (one.question, one.answer) in (rejected if one.rejected else asked)
        assert one.rejected or one.evidence


def test_a_preview_of_nothing_is_told(tmp_path: Path, small: Recipe) -> None:
    empty = small.replace(simulator=small.simulator.replace(contexts=0))
    with pytest.raises(EvoError, match="recipe 'd' has nothing to be shown"):
        preview(tmp_path, empty, 1)


def test_only_a_document_is_worked_on(home: Path, small: Recipe, no_prefect: None) -> None:
    other = small.replace(simulator=small.simulator.replace(contexts=9))
    assert synthesize(home, other, "doc-2") > 0
    with Warehouse.open(home) as warehouse:
        rest = work(warehouse, other)
        assert [found for _, found in rest.sources] == [list(range(4, 9)), [], []]
        assert finished(warehouse, other, chosen(warehouse, other, ["doc-0", "doc-2"]))


def test_only_what_was_made_under_other_settings_is_made_anew(home: Path, small: Recipe, no_prefect: None) -> None:
    assert small.cloze
    changed = small.replace(cloze=small.cloze.replace(window_words=13))
    with Warehouse.open(home) as warehouse:
        found = work(warehouse, changed, Only(invalidated=True))
        assert [sources for _, sources in found.sources] == [[], [], ["doc-0", "doc-1"]]
        # Of both, since each alone is asked for.
        both = work(warehouse, changed, chosen(warehouse, changed, ["invalidated", "doc-2"]))
        assert [sources for _, sources in both.sources] == [[], [], ["doc-0", "doc-1", "doc-2"]]
    synthesize(home, changed, "invalidated")
    with Warehouse.open(home) as warehouse:
        assert [sources for _, sources in work(warehouse, changed).sources] == [[], [], ["doc-2"]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--only", "failed"), "recipe 'smallest' has no teacher"),
        (("--only", "doc-9"), "'doc-9' is no document that is used"),
        (("--only", "doc-0'; DROP TABLE documents; --"), "is no document that is used"),
        (("--only", "doc-"), "'doc-' is no document"),
        (("--only", "doc-0", "--preview", "1"), "leave --only out"),
        (("--preview", "0"), "Invalid value for '--preview'"),
        (("--preview", "101"), "Invalid value for '--preview'"),
    ],
)
def test_a_part_that_is_none_is_a_sentence(made: Path, words: tuple[str, ...], says: str) -> None:
    done = evo(made, "synthesize", "smallest", *words)
    assert done.returncode == (2 if "Invalid" in says else 1)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refresh_is_the_next_version_by_the_recorded_recipe(home: Path, small: Recipe, no_prefect: None) -> None:
    before = tables(home)
    same = evo(home, "dataset", "refresh", "d")
    assert same.returncode == 0
    assert "nothing is new, no version was made" in same.stdout
    assert "has 1 contexts and documents yet to be worked on" in same.stderr
    assert tables(home) == before
    synthesize(home, small)
    new = evo(home, "dataset", "refresh", "d", "--json")
    assert new.returncode == 0, new.stderr
    told = json.loads(new.stdout)
    assert (told["number"], told["new"], told["parent"]) == (2, True, "d@1")
    assert json.loads(told["recipe"]) == small.model_dump(mode="json")
    assert "no version was made" in evo(home, "dataset", "refresh", "d").stdout


def test_what_cannot_be_refreshed_is_a_sentence(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        publish(warehouse, "foreign", json.dumps({"name": "import", "source": "x"}), None, EpisodeFilter())
    before = tables(home)
    for name, says in (
        ("foreign", "records no recipe that this code can run"),
        ("d@1", "give the name alone"),
        ("nobody", "unknown dataset 'nobody'"),
    ):
        done = evo(home, "dataset", "refresh", name)
        assert done.returncode == 1
        assert says in done.stderr
        assert "Traceback" not in done.stderr
    assert tables(home) == before


@pytest.mark.slow
def test_the_second_of_two_runs_waits_and_makes_nothing_twice(
    evo: Callable[..., subprocess.CompletedProcess[str]], prefect_url: str, tmp_path: Path
) -> None:
    home, path = tmp_path / "home", tmp_path / "twice.json"
    path.write_text(json.dumps({"base": "smallest", "simulator": {"contexts": 8}}))
    environ = {**os.environ, "EVO_HOME": str(home), "PREFECT_API_URL": prefect_url}
    words = warm.command("synthesize", str(path), "--json")
    with alone(home, "twice"):
        both = [subprocess.Popen(words, env=environ, stdout=PIPE, stderr=PIPE, text=True) for _ in range(2)]
        while sum(event["eventType"] == "START" for event in read_events(home)) < 2:
            assert not any(one.poll() for one in both)
            time.sleep(0.05)
    done = [one.communicate() for one in both]
    assert [one.returncode for one in both] == [0, 0], done
    assert any("another run of 'twice' is at work" in said for _, said in done)
    counts = sorted(json.loads(found)["new_episodes"] for found, _ in done)
    assert counts[0] == 0 < counts[1]
    assert sum("seeds to draft from" in said for _, said in done) == 1
    # The same run again, by its id: with the recipe of then, though its file says something else by now.
    path.write_text("{}")
    run_id = next(run.run_id for run in runs(home) if run.job == "synthesize.twice")
    again = evo("rerun", run_id, "--json", home=home)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {"flow": "synthesize", "result": {"recipe": "twice", "new_episodes": 0}}
    told = json.loads(evo("run", "list", "--job", "synthesize", "--json", home=home).stdout)
    assert [(one["job"], one["state"]) for one in told] == [("synthesize.twice", "done")] * 3
    assert run_id in evo("run", "list", home=home).stdout
    assert evo("run", "list", "--failed", home=home).stdout.strip() == "no such run is known"
    other = evo("rerun", run_id, home=tmp_path / "other")
    assert other.returncode == 1
    assert f"run {run_id} was made in home '{home}'" in other.stderr
    for word, says in (
        ("0190c2a4-5e1b-7c3d-9f2a-0b1c2d3e4f50", "no run 0190c2a4-5e1b-7c3d-9f2a-0b1c2d3e4f50 is known"),
        ("nonsense", "is the id of no run"),
        ("run-0a1b", "no training run run-0a1b has ended"),
    ):
        none = evo("rerun", word, home=home)
        assert none.returncode == 1
        assert says in none.stderr
        assert "Traceback" not in none.stderr


@pytest.mark.parametrize("outcome", ["refused", "declined"])
def test_a_model_that_was_turned_down_ends_a_rerun_as_it_ends_its_command(outcome: str) -> None:
    done = {"name": "support", "model_id": "model-1", "outcome": outcome}
    with pytest.raises(RefusedError, match=f"model-1 was {outcome}; support@champion stays"):
        _check("retrain", {}, done)
    _check("retrain", {}, {**done, "outcome": "promoted"})

"""What a recipe expects of its versions: a version that is not so is a draft, and nothing is trained on it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evoembedding.flows.build_dataset import publish_version, shard_version, stop_at_draft
from evoembedding.flows.commands.entry import _failed
from evoembedding.flows.made_by import made_by
from evoembedding.flows.pipeline import finished
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.flows.train import train
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.errors import EvoError, RefusedError
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.draft_versions import draft_versions, judged_of
from evoembedding.warehouse.datasets.expectations import judge, keep
from evoembedding.warehouse.datasets.profiles import of_matching, of_published
from evoembedding.warehouse.datasets.versions import list_versions, publish, resolve
from evoembedding.warehouse.lineage.withdrawal import withdraw
from evoembedding.warehouse.openlineage.event_log import read_events
from evoembedding.warehouse.upkeep.doctor import examine
from evoembedding.warehouse.upkeep.retention import expire
from tests import warm

SMALL = recipe("smallest").replace(
    cloze=None, simulator={**recipe("smallest").simulator.model_dump(), "contexts": 6, "seed": 7}
)
FEW = {"measure": "episodes", "at_least": 10_000}
ENOUGH = {"measure": "episodes", "at_least": 2}


def expecting(*rules: dict[str, Any], contexts: int = 6) -> Recipe:
    simulator = SMALL.simulator.replace(contexts=contexts)
    return SMALL.replace(simulator=simulator, expect={"rules": rules})


def published(home: Path, *rules: dict[str, Any], contexts: int = 6, accept: str = "") -> DatasetVersion:
    made = expecting(*rules, contexts=contexts)
    with Warehouse.open(home) as warehouse:
        commit_drafts(warehouse, simulate(made.simulator))
    return publish_version.fn(home, "d", made, accept)


def evo(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(words, {**os.environ, "EVO_HOME": str(home), "COLUMNS": "200"})


def test_a_draft_is_passed_over_until_it_is_accepted(tmp_path: Path) -> None:
    good = published(tmp_path, ENOUGH)
    draft = published(tmp_path, FEW, contexts=8)
    assert (good.label, draft.label) == ("d@1", "d@2")
    with Warehouse.open(tmp_path) as warehouse:
        assert draft_versions(warehouse) == {draft.dataset_id}
        assert resolve(warehouse, "d") == good
        assert resolve(warehouse, "d@2") == draft
    for refused in (
        lambda: shard_version.fn(tmp_path, "d@2", SMALL.train.model),
        lambda: train.fn("d@2", SMALL, home=tmp_path),
    ):
        with pytest.raises(
            EvoError, match=r"d@2 is a draft.*episodes: it is \d+, and 10000 or more.*--accept-anyway WHY"
        ):
            refused()
    with pytest.raises(RefusedError, match=r"d@2 is a draft.*no shard was written, and nothing was trained") as told:
        stop_at_draft(tmp_path, draft)
    assert _failed(told.value) == 3
    stop_at_draft(tmp_path, good)
    assert not list((tmp_path / "shards").glob("*"))
    assert finished(tmp_path, expecting(FEW, contexts=8), str(tmp_path)) is None
    # The same content is judged once, also where nothing is expected of it any more.
    assert published(tmp_path, FEW, contexts=8) == published(tmp_path, contexts=8) == draft
    with Warehouse.open(tmp_path) as warehouse:
        assert len(warehouse.query("SELECT * FROM expectations WHERE dataset_id = ?", (draft.dataset_id,))) == 1
        assert draft_versions(warehouse) == {draft.dataset_id}
    assert published(tmp_path, FEW, contexts=8, accept="a pilot") == draft
    with Warehouse.open(tmp_path) as warehouse:
        judged = judged_of(warehouse, draft.dataset_id)
        assert judged
        assert judged.accepted
        assert (judged.state, judged.accepted.reason, judged.accepted.sequence) == ("accepted", "a pilot", 1)
        assert resolve(warehouse, "d") == draft
        assert len(warehouse.query("SELECT * FROM acceptances")) == 1
    # Judged by others, it is what they find.
    published(tmp_path, {**FEW, "at_least": 20_000}, contexts=8)
    with Warehouse.open(tmp_path) as warehouse:
        assert draft_versions(warehouse) == {draft.dataset_id}
    published(tmp_path, ENOUGH, contexts=8)
    with Warehouse.open(tmp_path) as warehouse:
        assert draft_versions(warehouse) == set()
        assert [(row.dataset_id, row.sequence) for row in judged_of(warehouse, draft.dataset_id).rows] == [  # type: ignore[union-attr]
            (draft.dataset_id, 3)
        ]


def test_drift_is_from_the_last_version_that_is_no_draft(tmp_path: Path) -> None:
    drift = {"measure": "episodes", "drift_at_most": 0.1}
    first = published(tmp_path, drift)
    second = published(tmp_path, drift, contexts=12)
    third = published(tmp_path, drift, contexts=13)
    with Warehouse.open(tmp_path) as warehouse:
        assert draft_versions(warehouse) == {second.dataset_id, third.dataset_id}
        (none,), (one,), (two,) = (
            judged_of(warehouse, version.dataset_id).rows  # type: ignore[union-attr]
            for version in (first, second, third)
        )
        assert (none.passed, none.parent_id) == (None, "")
        assert one.parent_id == two.parent_id == first.dataset_id
        assert two.parent_value == first.episodes
        assert two.drift == pytest.approx((third.episodes - first.episodes) / first.episodes)
        # The profile of what was about to be published is that of what was.
        for version, contexts in ((first, 6), (second, 12), (third, 13)):
            of_recipe = expecting(contexts=contexts)
            mine = of_published(warehouse, version)
            assert mine
            if version is third:
                assert mine.mixes == of_matching(warehouse, made_by(of_recipe)).mixes  # type: ignore[union-attr]
            assert 0 < mine.numbers["yield"]["all"] <= 1


def test_every_measure_of_a_real_version(tmp_path: Path) -> None:
    rules = [
        {"measure": "yield", "at_least": 0.05},
        {"measure": "left_out", "at_most": 0.0},
        {"measure": "segments", "part": "min", "at_least": 8},
        {"measure": "tokens", "at_least": 50},
        {"measure": "generators", "only": ["simulator"]},
        {"measure": "kinds", "part": "dialogue", "at_least": 1},
        {"measure": "types", "drift_at_most": 0.2},
        {"measure": "licences", "only": ["CC0"]},
    ]
    version = published(tmp_path, *rules)
    with Warehouse.open(tmp_path) as warehouse:
        judged = judged_of(warehouse, version.dataset_id)
        assert judged
        assert [row.passed for row in judged.rows] == [True] * 6 + [None] * 2, judged.rows
        assert judged.state == "passed"


def test_what_came_since_it_was_judged_is_not_published(tmp_path: Path) -> None:
    made = expecting(ENOUGH)
    with Warehouse.open(tmp_path) as warehouse:
        commit_drafts(warehouse, simulate(made.simulator))
        where = made_by(made)
        judging = judge(warehouse, "d", made.name, made.expect, where)
        commit_drafts(warehouse, simulate(made.simulator.replace(contexts=8)))
        with pytest.raises(EvoError, match="was judged; it was not published"):
            publish(warehouse, "d", "{}", None, where, "", lambda con, v: keep(warehouse, con, v, judging, "", "me"))
        assert list_versions(warehouse) == []
        assert warehouse.query("SELECT * FROM expectations").is_empty()


def test_a_withdrawal_makes_no_draft_fit_to_be_trained_on(tmp_path: Path) -> None:
    draft = published(tmp_path, FEW)
    with Warehouse.open(tmp_path) as warehouse:
        gone = warehouse.query("SELECT min(context_id) FROM episodes").item()
        (after,) = withdraw(warehouse, gone, "asked to", "me", "abc").successors
        assert (after.before, after.after) == (draft.label, "d@2")
        assert draft_versions(warehouse) == {draft.dataset_id, after.dataset_id}
        with pytest.raises(EvoError, match="d@2 is a draft"):
            resolve(warehouse, "d")


def test_rows_stay_with_a_version_that_is_retired_and_lead_somewhere(tmp_path: Path) -> None:
    published(tmp_path, ENOUGH)
    draft = published(tmp_path, FEW, contexts=8, accept="why not")
    with Warehouse.open(tmp_path) as warehouse:
        expire(warehouse, ["d@2"], dry=False)
        judged = judged_of(warehouse, draft.dataset_id)
        assert judged
        assert judged.accepted
    assert list(examine(tmp_path, "weights", deep=True)) == []
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.transaction(lambda con: con.execute("UPDATE lake.expectations SET dataset_id = 'ds-none'"))
    assert {one.name for one in examine(tmp_path, "weights") if one.what == "rows"} == {
        "expectations without their dataset version",
        "accepted drafts without what was found",
    }


def test_openlineage_is_told_what_was_found(
    tmp_path: Path, wrong_in_event: Callable[[dict[str, Any]], list[str]]
) -> None:
    published(tmp_path, FEW, {**ENOUGH, "severity": "warn"}, {"measure": "types", "drift_at_most": 0.1})
    events = list(read_events(tmp_path))
    assert [wrong for one in events for wrong in wrong_in_event(one)] == []
    (told,) = [one for one in events if one["job"]["name"] == "expect.d" and one["eventType"] == "COMPLETE"]
    (read,) = told["inputs"]
    assert read["name"].endswith("dataset_versions/d@1")
    first, second = read["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert (first["success"], first["severity"], first["expected"]) == (False, "error", "10000")
    assert (second["success"], second["severity"], second["name"]) == (True, "warn", "episodes")


@pytest.mark.slow
def test_as_a_user_runs_it(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "mine.toml"
    text = 'base = "smallest"\ncloze = false\n[simulator]\ncontexts = 6\nseed = 7\n[[expect.rules]]\n'
    text += 'measure = "episodes"\n'
    file.write_text(f"{text}at_least = 10000\n", encoding="utf-8")
    with Warehouse.open(home) as warehouse:
        commit_drafts(warehouse, simulate(recipe(str(file)).simulator))
    words = ("dataset", "publish", "d", "--recipe", str(file))
    done = evo(home, *words)
    assert done.returncode == 3, done.stderr
    assert "d@1: draft" in done.stdout
    assert "or publish it with --accept-anyway WHY" in done.stderr.strip().splitlines()[-1]
    for refused in (
        ("shard", "d@1"),
        ("train", "d"),
        ("train", "d@1"),
        ("dataset", "export", "d@1", str(tmp_path / "x")),
    ):
        no = evo(home, *refused, *(("--recipe", str(file)) if refused[0] != "dataset" else ()))
        assert no.returncode == 1, refused
        assert "d@1 is a draft" in no.stderr
        assert len(no.stderr.strip().splitlines()) == 1
    assert "draft" in evo(home, "dataset", "list").stdout
    assert json.loads(evo(home, "dataset", "list", "--json").stdout)[0]["draft"] is True
    assert evo(home, *words, "--accept-anyway", "  ").returncode == 2
    accepted = evo(home, *words, "--accept-anyway", "a\x1b[2Jpilot", "--json")
    assert accepted.returncode == 0, accepted.stderr
    told = json.loads(accepted.stdout)
    assert (told["state"], told["accepted"]["reason"]) == ("accepted", "a\x1b[2Jpilot")
    assert told["expectations"][0]["passed"] is False
    shown = evo(home, "dataset", "show", "d")
    assert "accepted     by" in shown.stdout
    assert "\x1b[2J" not in shown.stdout
    assert json.loads(evo(home, "dataset", "show", "d@1", "--json").stdout)["state"] == "accepted"
    assert "there was nothing to accept" not in accepted.stderr
    file.write_text(f"{text}at_least = 2\n", encoding="utf-8")
    passed = evo(home, *words, "--accept-anyway", "why")
    assert passed.returncode == 0
    assert "there was nothing to accept: d@1 is no draft" in passed.stderr
    file.write_text(f'{text}at_least = 2\n[[expect.rules]]\nmeasure = "episodes"\nat_most = 1\n', encoding="utf-8")
    wrong = evo(home, *words)
    assert wrong.returncode == 1
    assert "episodes cannot be 2 or more and 1 or less: nothing would pass; nothing was run" in wrong.stderr

"""The three stages against a scripted teacher that answers from the truth: through faults, and as recipes change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evoembedding.flows.made_by import made_by
from evoembedding.flows.teaching.plan import make_plan
from evoembedding.flows.teaching.synthesis_report import synthesis_report
from evoembedding.flows.teaching.teach import Todo, pending_items, teach
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Document
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.teacher import Price, TeacherConfig
from evoembedding.synth.checks import CHECKS
from evoembedding.synth.documents import read_documents
from evoembedding.synth.fingerprints import KINDS
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.funnel import assert_balanced
from evoembedding.warehouse.datasets.versions import publish
from evoembedding.warehouse.ledger import SqliteLedger
from evoembedding.warehouse.lineage.trace import trace
from evoembedding.warehouse.lineage.tree import render_tree

Serve = Callable[..., Any]
PEPS = Path(__file__).parents[3] / "flows" / "examples" / "peps.parquet"
FAULTS = ("429", "500", "hang", "drop", "truncated", "wrong_schema", "empty", "not_json")


def recipe(url: str, personas: int = 6, documents: int = 4, **teaching: Any) -> Recipe:
    """Short contexts, so that a world fits one plan."""
    settings: dict[str, Any] = {
        "teachers": [{"model": "scripted", "endpoints": [url], "timeout_s": 5.0, "price": {"prompt": 1.0}}],
        "lengths": {"mean_segments": 12, "min_segments": 9, "max_segments": 16},
        "dialogue": {"personas": personas, "events_a_plan": 64},
        "web": {"documents": documents},
    }
    return Recipe.model_validate(
        {"name": "taught", "simulator": {"contexts": 0}, "cloze": None, "teaching": {**settings, **teaching}}
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return new_home(tmp_path / "home")


def new_home(folder: Path) -> Path:
    """A state folder with the example documents."""
    with Warehouse.open(folder) as warehouse:
        documents = [d for d in read_documents(str(PEPS)) if isinstance(d, Document)]
        warehouse.append("documents", to_frame(Document, documents))
    return folder


def todo(home: Path, chosen: Recipe, retry: bool = False) -> list[Todo]:
    with Warehouse.open(home) as warehouse:
        return pending_items(warehouse, chosen, retry)


def run(home: Path, chosen: Recipe, retry: bool = False) -> int:
    return teach(home, chosen, todo(home, chosen, retry), lambda _: None)


def version(home: Path, chosen: Recipe, name: str = "d") -> DatasetVersion:
    with Warehouse.open(home) as warehouse:
        return publish(warehouse, name, "{}", "", made_by(chosen))


def rows(home: Path, sql: str, *params: object) -> list[dict[str, Any]]:
    with Warehouse.open(home) as warehouse:
        return warehouse.query(sql, params).to_dicts()


def check_complete(home: Path, chosen: Recipe) -> None:
    """No item missing, none twice, the funnel balances, every call of every row is in `teacher_calls`."""
    assert not todo(home, chosen)
    for outcome in rows(home, "SELECT * FROM outcomes"):
        assert outcome["contexts"] + outcome["failed_contexts"] == 1
        assert outcome["asked"] == outcome["drafted"] + outcome["failed"]
        assert outcome["drafted"] == outcome["accepted"] + outcome["rejected"]
    assert not rows(home, "SELECT item FROM outcomes GROUP BY item, fingerprint, attempt HAVING count(*) > 1")
    for table in ("contexts", "questions", "evidence", "verdicts"):
        assert not rows(
            home,
            f"""SELECT call FROM (SELECT unnest(calls) AS call FROM {table})
                WHERE call NOT IN (SELECT call_id FROM teacher_calls)""",
        )
    with Warehouse.open(home) as warehouse:
        assert_balanced(warehouse)


def test_three_stages_make_true_episodes(serve: Serve, truth: Any, home: Path) -> None:
    server = serve(truth)
    chosen = recipe(server.url, memory={"share": 0.5})
    new = run(home, chosen)
    check_complete(home, chosen)
    asked = sum(row["asked"] for row in rows(home, "SELECT asked FROM outcomes"))
    assert new > 0.8 * asked
    episodes = rows(home, "SELECT e.*, c.segments AS texts, c.kind FROM episodes e JOIN contexts c USING (context_id)")
    assert {e["kind"] for e in episodes} == {"dialogue", "web", "memory"}
    for episode in episodes:
        shown = {f"User: {s['user']}\nAssistant: {s['assistant']}".rstrip() for s in episode["texts"]}
        (known,) = {t for t in truth.known[episode["question"]] if t.evidence <= shown}
        assert episode["answer"] == known.answer
        texts = [f"User: {s['user']}\nAssistant: {s['assistant']}".rstrip() for s in episode["texts"]]
        assert {texts[i] for i in episode["evidence"]} == known.evidence
    memories = rows(home, "SELECT * FROM contexts WHERE kind = 'memory'")
    assert all(len(m["source_ids"]) == 1 and m["calls"] for m in memories)
    assert rows(home, "SELECT * FROM contexts WHERE kind = 'web' AND len(document_ids) = 1")
    published = version(home, chosen)
    with Warehouse.open(home) as warehouse:
        told = render_tree(trace(warehouse, published.label, limit=100))
        alone = trace(warehouse, episodes[0]["episode_id"])
        call = next(node for node in alone.children if node.kind == "teacher calls").id
        answer = trace(warehouse, call).facts["answer"]
    for stage in ("contexts", "questions", "evidence", "verify"):
        assert f"scripted for {stage}" in told
        assert stage in render_tree(alone) or episodes[0]["kind"] == "web"
    assert answer.startswith("{")
    calls = server.answered.total()
    assert run(home, chosen) == 0
    assert server.answered.total() == calls == len(rows(home, "SELECT call_id FROM teacher_calls"))


@pytest.mark.slow
def test_faults_do_not_change_the_dataset(serve: Serve, truth: Any, tmp_path: Path) -> None:
    digests = []
    for name in ("calm", "faulty"):
        server = serve(truth)
        server.rates = dict.fromkeys(FAULTS, 0.025) if name == "faulty" else {}
        home, chosen = new_home(tmp_path / name), recipe(server.url)
        run(home, chosen)
        check_complete(home, chosen)
        assert not rows(home, "SELECT * FROM failures")
        assert max(server.answered.values()) == 1
        digests.append(version(home, chosen).digest)
    assert digests[0] == digests[1]


def plan_by_stage(home: Path, chosen: Recipe) -> dict[tuple[str, str], Any]:
    return {(row.kind, row.stage): row for row in make_plan(home, chosen) if row.kind in KINDS}


def test_a_plan_names_what_changed_and_a_threshold_costs_no_call(serve: Serve, truth: Any, home: Path) -> None:
    server = serve(truth)
    chosen = recipe(server.url)
    before = plan_by_stage(home, chosen)
    assert before["dialogue", "contexts"].pending == 6
    assert before["dialogue", "questions"].calls > 0
    assert not server.asked
    run(home, chosen)
    done = plan_by_stage(home, chosen)
    assert all(row.pending == row.invalidated == row.calls == 0 for row in done.values())

    looser = recipe(server.url, verify={"closed_book_most": 1.0, "evidence_removed_most": 1.0})
    rows_ = plan_by_stage(home, looser)
    verify = rows_["dialogue", "verify"]
    assert (verify.pending, verify.invalidated, verify.because, verify.calls) == (6, 6, ("thresholds",), 0)
    assert rows_["dialogue", "evidence"].pending == 0
    assert sum(row.calls for row in rows_.values()) == 0
    answered = server.answered.total()
    run(home, looser)
    assert server.answered.total() == answered
    assert version(home, looser).episodes >= version(home, chosen).episodes

    other = recipe(
        server.url, teachers=[{"model": "scripted", "endpoints": [server.url], "sampling": {"temperature": 0.2}}]
    )
    changed = plan_by_stage(home, other)
    assert changed["dialogue", "contexts"].because == ("sampling",)
    assert changed["dialogue", "questions"].because == ("sampling", "stage before")
    assert changed["web", "contexts"].pending == 0
    assert changed["web", "questions"].because == ("sampling",)
    assert changed["dialogue", "contexts"].calls > 0


def test_thresholds_select_what_is_published(serve: Serve, truth: Any, home: Path) -> None:
    server = serve(truth)
    run(home, strict := recipe(server.url, verify={"agreement_least": 1.0}))
    real, truth.answer = truth.answer, lambda user: {"answer": "unknown"}
    none = recipe(server.url, verify={"samples": 2})  # asks a second time, of a teacher that now knows nothing
    run(home, none)
    truth.answer = real
    assert version(home, strict).episodes
    with pytest.raises(EvoError, match="no train episodes of this recipe"):
        version(home, none)


@pytest.mark.slow
def test_a_budget_stops_cleanly_and_goes_on_when_raised(serve: Serve, truth: Any, tmp_path: Path) -> None:
    server = serve(truth)
    whole = new_home(tmp_path / "whole")
    run(whole, recipe(server.url))
    home, server = new_home(tmp_path / "home"), serve(truth)
    with pytest.raises(EvoError, match="budget of 'taught' is spent"):
        run(home, recipe(server.url, budget={"calls": 40}))
    assert server.answered.total() <= 40
    assert todo(home, recipe(server.url))
    run(home, recipe(server.url, budget={"calls": 10_000}))
    assert max(server.answered.values()) == 1
    assert version(home, recipe(server.url)).digest == version(whole, recipe(server.url)).digest
    with Warehouse.open(home) as warehouse:
        spent = SqliteLedger.open(home).spent("taught")
        told = synthesis_report(warehouse, recipe(server.url), spent)
    assert spent.calls == server.answered.total()
    for word in ("Funnel", "cost per accepted episode", "EvoTrain-180K", "1300", "evidence_removed"):
        assert word in told


def test_failures_are_kept_and_only_they_are_retried(serve: Serve, truth: Any, home: Path) -> None:
    server = serve(truth)
    real = truth.evidence
    truth.evidence = lambda user: {"segments": "none"}  # of the wrong form, repair after repair
    chosen = recipe(server.url, personas=2, documents=1, memory={"share": 0.0})
    assert run(home, chosen) == 0
    check_complete(home, chosen)
    failures = rows(home, "SELECT * FROM failures")
    assert len(failures) == 12
    assert all("malformed" in failure["reason"] for failure in failures)
    truth.evidence = real
    assert not todo(home, chosen)
    asked = server.answered.copy()
    assert run(home, chosen, retry=True) > 0
    assert all("You find the segments" in body for body in server.answered - asked if asked[body])
    check_complete(home, chosen)
    assert not todo(home, chosen, retry=True)
    whole = recipe(server.url, personas=2, documents=1, memory={"share": 0.0}, verify={"closed_book_most": 1.0})
    calls = server.answered.total()
    assert run(home, whole) >= 0
    assert server.answered.total() == calls  # what was retried once stays retried under other thresholds


def test_a_context_longer_than_the_window_fails_with_a_reason(serve: Serve, truth: Any, home: Path) -> None:
    server = serve(truth)
    server.window = 900
    chosen = recipe(server.url, personas=1, documents=0)
    run(home, chosen)
    check_complete(home, chosen)
    reasons = [row["reason"] for row in rows(home, "SELECT reason FROM failures")]
    assert reasons
    assert all("do not fit the context window of 900 tokens" in reason for reason in reasons)


def test_votes_of_several_teachers(serve: Serve, truth: Any, home: Path) -> None:
    def sloppy(messages: list[dict[str, str]]) -> str:
        """Also names segment 0, and one that does not exist."""
        if messages[0]["content"].startswith("You find"):
            return '{"reasoning": "all", "segments": [0, 999]}'
        return str(truth(messages))

    first, second = serve(truth), serve(sloppy, model="other")
    teachers = [
        TeacherConfig(name="good", model="scripted", endpoints=(first.url,), price=Price(prompt=2.0)).model_dump(),
        TeacherConfig(name="sloppy", model="other", endpoints=(second.url,)).model_dump(),
    ]
    chosen = recipe(
        first.url,
        personas=3,
        documents=0,
        teachers=teachers,
        askers=("good", "sloppy"),
        annotators=("good", "good", "sloppy"),
        verify={"agreement_least": 0.0},
    )
    assert run(home, chosen) > 0
    measured = rows(home, "SELECT DISTINCT check_name FROM verdicts WHERE score IS NOT NULL")
    assert {row["check_name"] for row in measured} == {name for name, check in CHECKS.items() if check.measures}
    evidence = rows(home, "SELECT * FROM evidence")
    assert all(999 in row["indices"] and row["voters"] == 3 for row in evidence)
    assert all(999 not in row["evidence"] for row in rows(home, "SELECT evidence FROM episodes"))
    assert {row["generator"] for row in rows(home, "SELECT generator FROM questions")} == {"scripted", "other"}
    stricter = recipe(first.url, personas=3, documents=0, teachers=teachers, askers=("good", "sloppy"))
    stricter = stricter.model_copy(
        update={
            "teaching": stricter.teaching.model_copy(  # type: ignore[union-attr]
                update={"annotators": ("good", "good", "sloppy")}
            )
        }
    )
    calls = first.answered.total() + second.answered.total()
    run(home, stricter)
    assert first.answered.total() + second.answered.total() == calls
    assert rows(home, "SELECT * FROM verdicts WHERE NOT passed AND reason = 'annotators disagree'")


def test_an_endpoint_that_is_gone_is_one_sentence(home: Path) -> None:
    with pytest.raises(EvoError, match="cannot be reached"):
        run(home, recipe("http://127.0.0.1:9/v1"))
    shutil.rmtree(home)

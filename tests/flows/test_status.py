"""`evo status`: what a home holds, what is at work in it and pending, and the same figures for Prometheus."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled
from prometheus_client.parser import text_string_to_metric_families

from evoembedding.flows.alone import alone, retrains_alone
from evoembedding.flows.decide import decide
from evoembedding.flows.figures import figures
from evoembedding.flows.recipes import recipe
from evoembedding.flows.status import InUse, Running, Status, Yield, status
from evoembedding.flows.train import train
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.budget import Paid
from evoembedding.schemas.dataset import ModelRecord
from evoembedding.schemas.episode import Document
from evoembedding.schemas.teacher import Message, Sampling, TeacherCall, TeacherRequest
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.ledger import SqliteLedger
from evoembedding.warehouse.registry.decisions import keep_decision
from evoembedding.warehouse.registry.promotion import promote
from evoembedding.warehouse.registry.versions import register
from tests import warm

TEXT = "The Harbour of Quillon was dredged in 1742. Its keeper, Ferdinand Osk, kept lamps and a parrot there."


@pytest.fixture(scope="module")
def home(demo: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo whose model is the champion of its name, with a document that came since, and two paid calls."""
    made: Path = demo.copy(tmp_path_factory.mktemp("seen") / "home")
    late = Document(document_id="doc-late", source_id="late", title="", uri="", license="", text=TEXT)
    with Warehouse.open(made) as warehouse:
        model = ModelRecord(**warehouse.query("SELECT * FROM lake.models").row(0, named=True))
        register(warehouse, model, "support", "somebody")
        promote(warehouse, "support@1", "somebody", "the first", force=True)
        keep_decision(warehouse, decide(warehouse, "support", recipe("smallest")))
        warehouse.append("documents", to_frame(Document, [late]))
    ledger = SqliteLedger.open(made)
    for number, month in enumerate((9, 10, 10)):
        pay(ledger, str(number), datetime(2026, month, 3, tzinfo=UTC))
    ledger.close()
    return made


def pay(ledger: SqliteLedger, asked: str, when: datetime) -> None:
    message = Message(role="user", content=asked)
    request = TeacherRequest(model="m", revision="", messages=(message,), sampling=Sampling(), answer_schema="{}")
    call = TeacherCall(
        call_id=request.call_id, scope="taught", stage="verify", item="dialogue:0", teacher="t", model="m",
        endpoint="http://127.0.0.1:1/v1", prompt_tokens=10, completion_tokens=2, seconds=0.1, cost=0.5,
        finish_reason="stop", valid=True, content="{}", created_at=when,
    )  # fmt: skip
    ledger.record(call, request)


def evo(home: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "EVO_HOME": str(home), "COLUMNS": "200", **environ}
    return warm.run(words, settings)


def test_a_home_is_told_as_its_tables_are(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        before = warehouse.snapshot()
        drafted = dict(warehouse.query("SELECT generator, count(*) FROM lake.questions GROUP BY ALL").rows())
    found = status(home)
    with Warehouse.open(home) as warehouse:
        assert warehouse.snapshot() == before
    assert [one.label for one in found.datasets] == ["smallest@1"]
    assert [(one.kind, one.stage, one.items) for one in found.pending] == [("cloze", "cloze", 1)]
    (model,) = found.models
    assert (model.newest, model.champion, model.gate, model.gate_at) == ("support@1", "support@1", "", None)
    (decided,) = found.decisions
    assert (decided.name, decided.decision, decided.outcome) == ("support", "keep", "")
    assert decided.why == "no bound of the policy is reached"
    assert {one.generator: one.drafted for one in found.yields} == drafted
    assert all(0 < one.kept <= one.drafted for one in found.yields)
    assert found.paid == (
        Paid(recipe="taught", month="2026-09", calls=1, tokens=12, cost=0.5),
        Paid(recipe="taught", month="2026-10", calls=2, tokens=24, cost=1.0),
    )


def test_what_is_at_work_is_told_while_it_is(home: Path) -> None:
    (run,) = (path.name for path in (home / "runs").iterdir())
    assert status(home).running == ()
    lock = (home / "runs" / run / "lock").open("w")
    with retrains_alone(home, "support"), alone(home, "smallest"), lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert status(home).running == (
            Running(job="retrain", subject="support"),
            Running(job="synthesize", subject="smallest"),
            Running(job="train", subject=run),
        )
    assert status(home).running == ()


def test_the_command_tells_what_is_scheduled_where_a_server_answers(home: Path, prefect_url: str) -> None:
    nobody = {"PREFECT_API_URL": "", "PREFECT_HOME": str(home / "prefect")}
    without = evo(home, "status", "--json", **nobody)
    assert without.returncode == 0, without.stderr
    assert json.loads(without.stdout)["scheduled"] is None
    dead = evo(home, "status", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert dead.returncode == 0
    assert "'http://127.0.0.1:9/api' (PREFECT_API_URL) does not answer" in dead.stderr
    assert "support@1" in dead.stdout
    due = datetime.now(UTC) - timedelta(days=400)  # before all that other tests have scheduled
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        run = client.create_flow_run(train, parameters={"dataset": "d"}, state=Scheduled(scheduled_time=due))
        try:
            told = json.loads(evo(home, "status", "--json", PREFECT_API_URL=prefect_url).stdout)["scheduled"]
        finally:
            client.delete_flow_run(run.id)
    assert (told[0]["run_id"], told[0]["flow"], told[0]["due"]) == (str(run.id), "train", due.isoformat())


def test_prometheus_reads_the_same_figures(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "evo.prom"
    done = evo(home, "status", "--prometheus", str(file), PREFECT_API_URL="")
    assert done.returncode == 0, done.stderr
    samples = [one for family in text_string_to_metric_families(file.read_text()) for one in family.samples]
    found = {(one.name, *sorted(one.labels.values())): one.value for one in samples}
    assert found["evo_teacher_cost", "2026-10", "taught"] == 1.0
    assert found["evo_pending_items", "cloze", "cloze", "smallest", "smallest"] == 1
    assert found["evo_dataset_newest_timestamp_seconds", "smallest"] == status(home).datasets[0].created_at.timestamp()
    decided = status(home).decisions[0].at.timestamp()
    assert found["evo_retrain_last_timestamp_seconds", "", "keep", "support"] == decided
    assert found["evo_model_champion", status(home).models[0].champion_model, "support", "support@1"] == 1
    for place, says in ((tmp_path, "is a folder"), (tmp_path / "none" / "evo.prom", "cannot be written")):
        failed = evo(home, "status", "--prometheus", str(place), PREFECT_API_URL="")
        assert failed.returncode == 1
        assert says in failed.stderr
        assert "no figures were written" in failed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["evo.prom"]


def test_names_that_came_from_outside_stay_labels() -> None:
    """A generator of an import is called as its rows say."""
    odd, at = 'a"b\\c\nevo_forged 1', datetime(2026, 1, 1, tzinfo=UTC)
    model = InUse(
        name="m", newest="m@1", newest_at=at, champion="", champion_model="", gated="m@1", gate="refused", gate_at=at
    )
    told = Status(
        home="h", at=at, running=(), pending=(), datasets=(), models=(model,), decisions=(),
        yields=(Yield(generator=odd, drafted=2, kept=1),), paid=(),
    )  # fmt: skip
    read = {
        (one.name, *sorted(one.labels.values())): one.value
        for family in text_string_to_metric_families(figures(told))
        for one in family.samples
    }
    assert (read["evo_questions", odd, "drafted"], read["evo_questions", odd, "kept"]) == (2, 1)  # a quote comes first
    assert read["evo_model_last_gate", "m", "m@1", "refused"] == 1
    assert not [key for key in read if key[0] == "evo_forged"]


def test_an_empty_home_stands_at_nothing(tmp_path: Path) -> None:
    done = evo(tmp_path / "home", "status", "--json", PREFECT_API_URL="")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert all(told[part] == [] for part in ("running", "pending", "datasets", "models", "yields", "paid"))
    assert not (tmp_path / "home" / "ledger.sqlite").exists()

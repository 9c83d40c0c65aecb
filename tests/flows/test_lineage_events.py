"""Runs tell OpenLineage how they went: what they tell, that it joins, and that no endpoint can hold them up."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow
from prefect.context import FlowRunContext

from evoembedding.flows.build_dataset import publish_version, shard_version
from evoembedding.flows.lineage_events import emits, lineage_run, reads, writes
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.errors import EvoError, InterruptionError
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.openlineage import assets, event_log
from evoembedding.warehouse.openlineage.event_log import read_events, resend, runs

Check = Callable[[dict[str, Any]], list[str]]


class Endpoint:
    """An OpenLineage endpoint on loopback. `mode` is ok, 500, hang (no answer) or drip (an answer without an end)."""

    def __init__(self) -> None:
        self.mode = "ok"
        self.taken: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []  # path, Authorization
        self.release = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.asked.append((self.path, self.headers.get("Authorization", "")))
                if endpoint.mode == "hang":
                    endpoint.release.wait()
                elif endpoint.mode == "drip":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    while not endpoint.release.wait(0.2):
                        self.wfile.write(b"x-more: 1\r\n")
                elif endpoint.mode == "500":
                    self.send_error(500)
                else:
                    endpoint.taken.append(json.loads(body))
                    self.send_response(201)
                    self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Nothing: its lines would be taken for the command's."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    served = Endpoint()
    yield served
    served.release.set()
    served.server.shutdown()


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings of the machine; and none of what the client adds to them stays."""
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENLINEAGE")}
    for name in set(os.environ) - set(kept):
        monkeypatch.delenv(name)
    event_log._resting.clear()
    yield
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        del os.environ[name]


def work(home: Path, name: str = "demo@1") -> None:
    """A run that reads and writes."""
    with lineage_run(home, "work", name, "Works.", __file__):
        reads(assets.table("documents", 1))
        writes(assets.table("episodes", 2, rows=5))


def told(home: Path) -> list[tuple[str, str]]:
    return [(event["job"]["name"], event["eventType"]) for event in read_events(home)]


def test_endpoint_gets_the_events_of_the_file(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, wrong_in_event: Check
) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", endpoint.url)
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "key-of-the-test")
    work(tmp_path)
    assert endpoint.taken == list(read_events(tmp_path))
    assert told(tmp_path) == [("work.demo", "START"), ("work.demo", "COMPLETE")]
    assert [wrong_in_event(event) for event in endpoint.taken] == [[], []]
    assert endpoint.asked == [("/api/v1/lineage", "Bearer key-of-the-test")] * 2
    assert "key-of-the-test" not in json.dumps(endpoint.taken)


def test_settings_of_the_client_hold(tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", endpoint.url)
    monkeypatch.setenv("OPENLINEAGE_ENDPOINT", "openapi/openlineage/api/v1/lineage")
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "ours")
    work(tmp_path)
    assert {path for path, _ in endpoint.asked} == {"/openapi/openlineage/api/v1/lineage"}
    assert {event["job"]["namespace"] for event in endpoint.taken} == {"ours"}
    more = tmp_path / "more.jsonl"
    transport = {"type": "file", "log_file_path": str(more), "append": True}
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps(transport))
    work(tmp_path)
    assert list(map(json.loads, more.read_text().splitlines())) == list(read_events(tmp_path))[2:]
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    work(tmp_path)
    assert len(told(tmp_path)) == 4


@pytest.mark.parametrize(
    ("mode", "says"),
    [("dead", "cannot be reached"), ("500", "HTTP 500"), ("hang", "no answer in time"), ("drip", "no answer in time")],
)
def test_run_goes_on_whatever_the_endpoint_does(
    tmp_path: Path,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mode: str,
    says: str,
) -> None:
    endpoint.mode = mode
    monkeypatch.setenv("OPENLINEAGE_URL", endpoint.url.replace("//", "//user:password@"))
    if mode == "dead":
        endpoint.server.server_close()
    work(tmp_path)
    work(tmp_path)
    assert not endpoint.release.is_set()  # whoever hangs, hangs still
    assert endpoint.taken == []
    assert len(endpoint.asked) == (0 if mode == "dead" else 1)  # one that fails is left alone for a while
    assert [state for _, state in told(tmp_path)] == ["START", "COMPLETE"] * 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert str(endpoint.server.server_port) in line
    assert "password" not in line


def test_endpoint_that_is_back_gets_events_again_and_the_rest_by_send(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "REST_S", 0.0)
    monkeypatch.setenv("OPENLINEAGE_URL", endpoint.url)
    endpoint.mode = "500"
    work(tmp_path)
    with pytest.raises(EvoError, match=r"took 0 events and then none \(HTTP 500\)"):
        resend(tmp_path)
    endpoint.mode = "ok"
    work(tmp_path)
    kept = list(read_events(tmp_path))
    assert endpoint.taken == kept[2:]
    assert resend(tmp_path) == 4
    assert endpoint.taken[2:] == kept


@pytest.mark.parametrize(
    "settings",
    [
        {"OPENLINEAGE_URL": "nonsense"},
        {"OPENLINEAGE_URL": "http://127.0.0.1:port"},
        {"OPENLINEAGE__TRANSPORT": '{"type": "nothing"}'},
        {"OPENLINEAGE__FILTERS": '[{"odd": 1}]'},
    ],
)
def test_settings_that_cannot_be_used_fail_no_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, str],
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    work(tmp_path)
    assert [state for _, state in told(tmp_path)] == ["START", "COMPLETE"]
    (line,) = capsys.readouterr().err.splitlines()
    assert "settings cannot be used" in line


def test_folder_that_cannot_be_written_fails_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lineage").write_text("a file where the folder would be")
    work(tmp_path)
    assert "no event could be kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (EvoError("shard 7 is damaged; rerun"), "FAIL", "shard 7 is damaged; rerun"),
        (ValueError("odd\nmore"), "FAIL", "ValueError: odd"),
        (InterruptionError("interrupted; rerun"), "ABORT", "interrupted; rerun"),
        (KeyboardInterrupt(), "ABORT", "stopped by KeyboardInterrupt"),
    ],
)
def test_run_that_ends_badly_says_why(
    tmp_path: Path, wrong_in_event: Check, error: BaseException, state: str, message: str
) -> None:
    with pytest.raises(type(error)), lineage_run(tmp_path, "work", "", "Works.", __file__):
        reads(assets.table("documents", 1))
        raise error
    _, end = read_events(tmp_path)
    assert end["eventType"] == state
    assert end["run"]["facets"]["errorMessage"]["message"] == message
    assert [one["name"].rpartition("/")[2] for one in end["inputs"]] == ["documents"]
    assert wrong_in_event(end) == []
    (run,) = runs(tmp_path)
    assert (run.state, run.error) == (state, message)


def test_parts_name_their_parent_and_the_root(tmp_path: Path) -> None:
    @emits("inner", of="name")
    def inner(home: Path, name: str) -> None:
        writes(assets.table("episodes", 1))

    @emits("outer")
    def outer(home: Path) -> None:
        inner(home, "Größe 😀/a b'; --@3")
        reads(assets.table("documents", 1))

    with lineage_run(tmp_path, "all", "", "All.", __file__):
        outer(tmp_path)
    ends = {e["job"]["name"]: e for e in read_events(tmp_path) if e["eventType"] == "COMPLETE"}
    assert set(ends) == {"all", "outer", "inner.a-b"}
    parent = ends["inner.a-b"]["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == ends["outer"]["run"]["runId"]
    assert parent["root"]["run"]["runId"] == ends["all"]["run"]["runId"]
    assert len(ends["outer"]["outputs"]) == 0
    assert len(ends["inner.a-b"]["inputs"]) == 0
    assert "parent" not in ends["all"]["run"]["facets"]


def test_run_of_prefect_has_its_id_and_its_schedule(tmp_path: Path, wrong_in_event: Check) -> None:
    @flow
    @emits("nightly")
    def nightly(home: Path) -> None:
        """Train again. Every night."""

    due = datetime(2026, 1, 1, 3, tzinfo=UTC)
    planned = SimpleNamespace(id=uuid4(), auto_scheduled=True, expected_start_time=due)
    with FlowRunContext.model_construct(flow=nightly, flow_run=planned):
        nightly.fn(tmp_path)
        with lineage_run(tmp_path, "other", "", "Other.", __file__):
            pass
    _, end, _, other = read_events(tmp_path)
    assert wrong_in_event(end) == []
    assert end["run"]["runId"] == str(planned.id)
    assert end["run"]["facets"]["nominalTime"]["nominalStartTime"] == due.isoformat()
    assert end["job"]["facets"]["jobType"]["jobType"] == "FLOW"
    assert end["job"]["facets"]["documentation"]["description"] == "Train again. Every night."
    assert other["run"]["runId"] != str(planned.id)


def test_graph_of_events_keeps_versions_apart_as_the_foreign_keys_do(
    tmp_path: Path, event_graph: type[Any], wrong_in_event: Check
) -> None:
    chosen = recipe("smallest")
    for stop in (6, 12):
        with Warehouse.open(tmp_path) as warehouse:
            commit_drafts(warehouse, simulate(chosen.simulator, 0, stop))
        version = publish_version.fn(tmp_path, "a", chosen)
        shard_version.fn(tmp_path, "a", chosen.train.model)
    assert version.label == "a@2"
    events = list(read_events(tmp_path))
    assert [wrong_in_event(event) for event in events] == [[]] * 8
    assert {event["job"]["name"] for event in events} == {"publish.a", "shard.a"}
    graph = event_graph(events)
    with Warehouse.open(tmp_path) as warehouse:
        rows = warehouse.query(
            """SELECT shard_set_id, name || '@' || number AS label
               FROM shard_sets JOIN dataset_versions USING (dataset_id)"""
        )
    assert len(rows) == 2
    for shard_set_id, label in rows.iter_rows():
        above = graph.sources(graph.named(f"/shard_sets/{shard_set_id}"))
        assert {name for name in above if "/dataset_versions/" in name} == {graph.named(f"/dataset_versions/{label}")}
        assert graph.named("/episodes") in above

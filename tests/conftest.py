"""Servers on loopback: a teacher that answers by a function and injects faults at given rates, and Prefect's."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
import uvicorn
from hypothesis import settings
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from evoembedding.warehouse.backend import CATALOG_URL, DATA_URL
from evoembedding.warehouse.catalog import SETTINGS
from tests.servers import Postgres, free_port, healthy

# Where tests run in the background, SIGINT is ignored, also by the commands that they start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("no deadlines", deadline=None)  # a busy machine fails no test
settings.load_profile("no deadlines")

# DuckDB checks its extensions' signatures whenever a warehouse is opened, 0.3 s of 0.4. So do commands as
# processes of their own; those that tests/warm.py forks do not.
SETTINGS["allow_unsigned_extensions"] = True

FAULTS = ("429", "500", "hang", "drop", "truncated", "wrong_schema", "empty", "not_json")


class TeacherServer:
    """Counts what it is asked, by the request's body. `rates` of FAULTS are drawn per call."""

    def __init__(self, answer: Callable[[list[dict[str, str]]], str], model: str = "scripted", key: str = "") -> None:
        self.answer, self.model, self.key = answer, model, key
        self.rates: dict[str, float] = {}
        self.latency_s = 0.0
        self.retry_after = "0.02"
        self.window: int | None = None  # tokens, told with the model
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.most_in_flight = self.in_flight = 0
        self.random = random.Random(0)
        self._server: uvicorn.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Serve on the port of before, or on a free one."""
        config = uvicorn.Config(
            self._app, host="127.0.0.1", port=self.port, log_level="critical", lifespan="off", interface="asgi3"
        )
        self._server = uvicorn.Server(config)
        thread = threading.Thread(target=self._server.run, daemon=True)
        thread.start()
        while not self._server.started:
            time.sleep(0.005)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Stop at once, like a server that is killed: calls under way are dropped."""
        assert self._server is not None
        self._server.force_exit = self._server.should_exit = True
        while self._server.servers and any(s.is_serving() for s in self._server.servers):
            time.sleep(0.005)

    async def _app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":  # the client was killed while it asked
                return
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        if self.key and dict(scope["headers"]).get(b"authorization") != f"Bearer {self.key}".encode():
            sent = dict(scope["headers"]).get(b"authorization", b"").decode()
            await _reply(send, 401, json.dumps({"error": {"message": f"Incorrect API key provided: {sent}"}}))
        elif scope["path"].endswith("/models"):
            told = {"max_model_len": self.window} if self.window else {}
            model = {"id": self.model, "object": "model", **told}
            await _reply(send, 200, json.dumps({"object": "list", "data": [model]}))
        else:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                await self._chat(body.decode(), send)
            finally:
                self.in_flight -= 1

    async def _chat(self, body: str, send: Any) -> None:
        self.asked[body] += 1
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        draw = self.random.random()
        fault = ""
        for name, rate in self.rates.items():
            draw -= rate
            if draw < 0:
                fault = name
                break
        self.faults[fault] += 1
        if fault == "429":
            await _reply(send, 429, '{"error": {"message": "slow down"}}', retry_after=self.retry_after)
        elif fault == "500":
            await _reply(send, 500, '{"error": {"message": "out of order"}}')
        elif fault == "not_json":
            await _reply(send, 200, "<html>gateway</html>")
        elif fault == "hang":
            await asyncio.sleep(60)
        elif fault == "drop":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"900")]})
            await send({"type": "http.response.body", "body": b'{"id": ', "more_body": True})
        else:
            content = self.answer(json.loads(body)["messages"])
            content = {"truncated": content[: len(content) // 2], "wrong_schema": '{"no": 1}', "empty": ""}.get(
                fault, content
            )
            self.answered[body] += 1
            await _reply(send, 200, _completion(self.model, content, body))


def _completion(model: str, content: str, body: str) -> str:
    asked = json.loads(body)
    read = sum(len(m["content"]) for m in asked["messages"]) + len(str(asked["response_format"]["json_schema"]))
    usage = {"prompt_tokens": read // 4, "completion_tokens": 1 + len(content) // 4}
    usage["total_tokens"] = sum(usage.values())
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return json.dumps(
        {"id": "c", "object": "chat.completion", "created": 0, "model": model, "choices": [choice], "usage": usage}
    )


async def _reply(send: Any, status: int, body: str, retry_after: str = "") -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body.encode())).encode())]
    if retry_after:
        headers.append((b"retry-after", retry_after.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


@pytest.fixture
def serve() -> Iterator[Callable[..., TeacherServer]]:
    """Starts teachers on loopback, and stops them after the test."""
    started: list[TeacherServer] = []

    def start(answer: Callable[[list[dict[str, str]]], str], **settings: Any) -> TeacherServer:
        server = TeacherServer(answer, **settings)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


SPEC = Path(__file__).parent / "openlineage"
FORMATS = FormatChecker(())
FORMATS.checks("uuid", raises=ValueError)(lambda text: bool(UUID(text)))
FORMATS.checks("uri", raises=ValueError)(lambda text: bool(urlsplit(text).scheme))
FORMATS.checks("date-time", raises=ValueError)(lambda text: datetime.fromisoformat(text).tzinfo is not None)


@pytest.fixture(scope="session")
def openlineage_spec() -> dict[str, Any]:
    """The schemas of the standard, by their ids."""
    read = [json.loads(path.read_text()) for path in sorted(SPEC.glob("*.json"))]
    return {schema["$id"]: schema for schema in read}


@pytest.fixture(scope="session")
def wrong_in_event(openlineage_spec: dict[str, Any]) -> Callable[[dict[str, Any]], list[str]]:
    """What is wrong with an OpenLineage event by the standard's schemas, each facet by the one that it names."""
    resources = [(name, Resource.from_contents(schema)) for name, schema in openlineage_spec.items()]
    registry: Registry[Any] = Registry().with_resources(resources)

    def errors(value: Any, url: str) -> list[str]:
        checked = Draft202012Validator({"$ref": url}, registry=registry, format_checker=FORMATS).iter_errors(value)
        return [f"{url}: {error.json_path}: {error.message[:200]}" for error in checked]

    def of_facets(held: dict[str, Any]) -> list[str]:
        wrong = []
        for key, facet in held.items():
            schema = openlineage_spec.get(facet.get("_schemaURL", "").partition("#")[0], {"properties": {}})
            if key in schema["properties"]:
                wrong += errors(facet, facet["_schemaURL"])
            else:
                wrong.append(f"facet '{key}' has no schema '{facet.get('_schemaURL')}'")
        return wrong

    def check(event: dict[str, Any]) -> list[str]:
        wrong = errors(event, event.get("schemaURL") or "https://openlineage.io/spec/2-0-2/OpenLineage.json")
        data = [*event.get("inputs", []), *event.get("outputs", [])]
        for holder in (event.get("run", {}), event.get("job", {}), *data):
            for name in ("facets", "inputFacets", "outputFacets"):
                wrong += of_facets(holder.get(name) or {})
        return wrong

    return check


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server on a free port of loopback: a temporary one for each command would take 20 s each."""
    port = free_port()
    words = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--no-services",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    folder = str(tmp_path_factory.mktemp("prefect"))
    environ = {**os.environ, "PREFECT_HOME": folder, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    process = subprocess.Popen(words, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + 300
    while not healthy(f"{url}/health"):
        assert time.monotonic() < deadline, "Prefect's server did not start"
        time.sleep(0.1)
    yield url
    process.terminate()
    process.wait()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of our own on loopback."""
    if (programs := Postgres.installed()) is None:
        pytest.skip("PostgreSQL is not installed")
    server = Postgres(programs)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3-compatible server of our own on loopback."""
    from moto.server import ThreadedMotoServer  # takes a second to import

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def served(postgres: Postgres, s3: str) -> Iterator[Callable[[], dict[str, str]]]:
    """Makes a new database and a new bucket, and tells the environment in which a warehouse lies in them."""
    import boto3

    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**keys, "AWS_ENDPOINT_URL": s3}.items():
            patch.setenv(name, value)

        def make() -> dict[str, str]:
            name = f"evo-{uuid.uuid4().hex[:12]}"
            with psycopg.connect(f"{postgres}/postgres", autocommit=True) as con:
                con.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
            boto3.client("s3").create_bucket(Bucket=name)
            return {CATALOG_URL: f"{postgres}/{name}", DATA_URL: f"s3://{name}/data"}

        yield make

"""A small warehouse, once in a folder and once on servers, and a tokenizer that needs no model."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import boto3
import psycopg
import pytest
from moto.server import ThreadedMotoServer

from evoembedding.warehouse.backend import CATALOG_URL, DATA_URL, Backend
from evoembedding.warehouse.catalog import Warehouse
from tests.soak import SOAKING
from tests.warehouse.servers import Postgres
from tests.warehouse.world import WordTokenizer, make_documents, make_partition


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
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


Served = Callable[[], dict[str, str]]


@pytest.fixture(scope="session")
def served(postgres: Postgres, s3: str) -> Iterator[Served]:
    """Makes a new database and a new bucket, and tells the environment in which a warehouse lies in them."""
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


ON_SERVERS = ("test_catalog", "test_versions", "test_shard_sets", "test_lineage")


@pytest.fixture(scope="module", params=["folder", "servers"])
def warehouse(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """Thirty contexts, one episode each, and the documents of every other one. Tests may add, under other names.

    Once in a folder, once with its catalog in PostgreSQL and its data in S3: of this one state folder only, since a
    module's other tests make their own. While not soaking, few modules: servers take seconds to make the tables.
    """
    module = request.module.__name__.rpartition(".")[2]
    if request.param == "servers" and not (SOAKING or module in ON_SERVERS):
        pytest.skip("tried on servers while soaking")
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "servers":
            there, plain = Backend.of(home / "warehouse", request.getfixturevalue("served")()), Backend.of
            patch.setattr(Backend, "of", lambda folder: there if folder == there.folder else plain(folder))
        with Warehouse.open(home) as opened:
            opened.append_all({"documents": make_documents(30), **make_partition(0, 30)})
            yield opened


@pytest.fixture(scope="session")
def tokenizer() -> WordTokenizer:
    return WordTokenizer()

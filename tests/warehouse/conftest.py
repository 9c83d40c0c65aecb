"""A small warehouse, once in a folder and once on servers, and a tokenizer that needs no model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evoembedding.warehouse.backend import Backend
from evoembedding.warehouse.catalog import Warehouse
from tests.soak import SOAKING
from tests.warehouse.world import WordTokenizer, make_documents, make_partition

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

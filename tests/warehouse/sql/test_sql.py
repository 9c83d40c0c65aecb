"""The lake without this project's code: comments, views and the questions of docs/sql.md, from a plain DuckDB."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import duckdb_extensions
import pytest

from evoembedding.schemas.arrow import polars_schema
from evoembedding.schemas.shard import EpisodeTokenizer
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.lineage.trace import documents_of
from evoembedding.warehouse.lineage.withdrawal import withdraw
from evoembedding.warehouse.shards.shard_sets import build_shards
from evoembedding.warehouse.sql.comments import column_comment, table_comment
from evoembedding.warehouse.sql.views import VIEWS
from evoembedding.warehouse.tables import TABLES
from tests.warehouse.world import add_model, make_documents, make_partition, make_taught

PAGE = Path(__file__).parents[3] / "docs" / "sql.md"
QUESTION = re.compile(r"^\*\*(\d+)\. .*?^```sql\n(.*?)^```", re.M | re.S)


class Lake(NamedTuple):
    """A plain connection to a lake, and the documents that our own code finds under its model."""

    con: duckdb.DuckDBPyConnection
    documents: set[str]


def plain(catalog: Path) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    for extension in ("ducklake", "sqlite_scanner"):
        duckdb_extensions.import_extension(extension, con=con)
        con.load_extension(extension)
    data = f"DATA_PATH '{catalog.parent}/data/', OVERRIDE_DATA_PATH true"
    con.execute(f"ATTACH 'ducklake:sqlite:{catalog}' AS audited (READ_ONLY, {data})")
    con.execute("USE audited")
    return con


@pytest.fixture(scope="module")
def lake(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: EpisodeTokenizer,
) -> Iterator[Lake]:
    """Offline contexts, one that a teacher was asked about, a memory of it, a model of all, and a withdrawal."""
    home = tmp_path_factory.mktemp("home")
    with Warehouse.open(home) as warehouse:
        warehouse.append_all({"documents": make_documents(12), **make_partition(0, 12)})
        warehouse.append_all(make_taught("told", documents=("doc-0002",)))
        warehouse.append_all(make_taught("remembered", "small", sources=("ctx-told",)))
        version = publish(warehouse, "demo", "{}", "abc", EpisodeFilter())
        add_model(warehouse, build_shards(warehouse, version, tokenizer, home / "shards").shard_set_id)
        withdraw(warehouse, "doc-0002", "asked to", "me", "abc")
        documents = set(documents_of(warehouse, "demo@1")["document_id"])
    with plain(home / "warehouse" / "catalog.sqlite") as con:
        for name, value in {
            "model": "model-1",
            "document": "doc-0002",
            "label": "demo@1",
            "episode": "ep-told",
        }.items():
            con.execute(f"SET VARIABLE {name} = '{value}'")
        yield Lake(con, documents)


def answers(con: duckdb.DuckDBPyConnection) -> dict[int, list[dict[str, Any]]]:
    """What each question of the page gives, by its number."""
    found = {}
    for number, sql in QUESTION.findall(PAGE.read_text(encoding="utf-8")):
        (query,) = [part for part in sql.split(";") if part.strip() and not part.strip().startswith("SET VARIABLE")]
        found[int(number)] = con.sql(query).pl().to_dicts()
    return found


def test_the_ten_questions_are_answered(lake: Lake) -> None:
    told = answers(lake.con)
    assert sorted(told) == list(range(1, 11))
    assert {row["document_id"] for row in told[1]} == lake.documents
    assert [(row["model_id"], row["label"]) for row in told[2]] == [("model-1", "demo@1")]
    assert [(row["license"], row["documents"]) for row in told[3]] == [("CC0", len(lake.documents))]
    assert sum(row["calls"] for row in told[4]) == 14  # seven of each; a memory rests on its source's as well
    assert {row["model"] for row in told[4]} == {"large", "small"}
    assert sum(row["questions"] for row in told[5]) == 12
    assert told[6][0]["segments"] == ["a", "b"]
    assert {row["stage"] for row in told[7]} == {"contexts", "questions", "evidence", "verify"}
    assert [(row["model_id"], row["source"], row["reason"]) for row in told[8]] == [("model-1", "doc-0002", "asked to")]
    assert told[9] == []
    assert [(row["model_id"], row["git_commit"]) for row in told[10]] == [("model-1", "abc")]


def test_a_context_of_evaluation_in_a_version_would_be_found(lake: Lake) -> None:
    """The ninth question can be answered otherwise."""
    (sql,) = [sql for number, sql in QUESTION.findall(PAGE.read_text(encoding="utf-8")) if number == "9"]
    assert len(lake.con.sql(sql.replace("'heldout' IN", "'train' IN").rstrip().rstrip(";")).pl())


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_gives_rows_under_any_name_of_the_lake(lake: Lake, view: str) -> None:
    assert len(lake.con.sql(f"SELECT * FROM audited.{view}").pl())


def test_comments_are_in_the_catalog(lake: Lake) -> None:
    tables = dict(
        lake.con.execute("SELECT table_name, comment FROM duckdb_tables() WHERE database_name = 'audited'").fetchall()
    )
    views = dict(
        lake.con.execute(
            "SELECT view_name, comment FROM duckdb_views() WHERE database_name = 'audited' AND NOT internal"
        ).fetchall()
    )
    columns = lake.con.execute(
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE database_name = 'audited'"
    ).fetchall()
    assert tables == {name: table_comment(name) for name in TABLES}
    assert views == {name: view.comment for name, view in VIEWS.items()}
    said = {(table, column): comment for table, column, comment in columns if table in TABLES}
    assert said.pop(("schema_versions", "version")).startswith(column_comment("schema_versions", "version"))
    assert said == {(name, column): column_comment(name, column) for name, column in said}
    assert {column for name, column in said if name == "episodes"} >= polars_schema(TABLES["episodes"].record).keys()


def test_opening_again_writes_nothing(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        first = warehouse.snapshot()
    with Warehouse.open(tmp_path) as warehouse:
        assert warehouse.snapshot() == first


def test_a_view_that_an_older_code_made_is_made_anew(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.query("CREATE OR REPLACE VIEW lake.scores AS SELECT 1 AS one")
        warehouse.query("COMMENT ON COLUMN lake.schema_versions.version IS 'of an older code'")
    with Warehouse.open(tmp_path) as warehouse:
        assert "metric" in warehouse.query("SELECT * FROM scores").columns


def test_no_column_is_a_word_of_sql() -> None:
    con = duckdb.connect()
    reserved = {
        row[0]
        for row in con.execute(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
        ).fetchall()
    }
    columns = {column for table in TABLES.values() for column in polars_schema(table.record)}
    columns |= set(con.execute("SELECT 1 AS one").pl().columns)
    assert not columns & reserved

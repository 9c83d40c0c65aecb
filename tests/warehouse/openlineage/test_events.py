"""OpenLineage events by the standard's schemas, the schemas by the official client, and the log that keeps events."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attr
import pytest
from openlineage.client import generated
from openlineage.client.event_v2 import RunState
from openlineage.client.serde import Serde

from evoembedding.schemas.benchmark import BenchmarkData
from evoembedding.schemas.dataset import DatasetVersion, ModelRecord
from evoembedding.schemas.teacher import TeacherConfig
from evoembedding.warehouse.backend import Backend
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.openlineage import assets
from evoembedding.warehouse.openlineage.assets import place
from evoembedding.warehouse.openlineage.event_log import append_line, read_events
from evoembedding.warehouse.openlineage.events import Job, Run, event, without_secrets
from evoembedding.warehouse.shards.shard_sets import build_shards
from evoembedding.warehouse.tables import TABLES
from tests.records import NOW

Check = Callable[[dict[str, Any]], list[str]]
IDENTITY = "0190b2c4-8e9f-7d3a-9b3c-0123456789ab"


JSON_TYPES = {"str": "string", "int": "integer", "bool": "boolean", "EventType": "string"}


def json_type(annotation: str) -> str:
    """The JSON type that an annotation of the client stands for."""
    kind = annotation.removesuffix(" | None").partition("[")[0]
    return {"list": "array", "dict": "object", **JSON_TYPES}.get(kind, "object")


def client_classes() -> dict[str, type]:
    """The official client's classes, by the address of the schema that each was generated from.

    Parts that are written inside of a facet's schema name no address, and get their facet's.
    """
    found: dict[str, type] = {}
    for module in pkgutil.iter_modules(generated.__path__):
        name = f"openlineage.client.generated.{module.name}"
        made = [c for c in vars(importlib.import_module(name)).values() if isinstance(c, type) and attr.has(c)]
        own = [c for c in made if c.__module__ == name]
        found |= {c._get_schema(): c for c in own if "_get_schema" in vars(c)}  # type: ignore[attr-defined]
        documents = {c._get_schema().partition("#")[0] for c in own if "_get_schema" in vars(c)}  # type: ignore[attr-defined]
        if len(documents) == 1:
            found |= {f"{documents.copy().pop()}#/$defs/{c.__name__}": c for c in own}
    return found


def properties(spec: dict[str, Any], schema: dict[str, Any], base: str) -> tuple[dict[str, Any], set[str]]:
    """All properties of a schema with those that it refers to, and the required ones."""
    held, required = dict(schema.get("properties", {})), set(schema.get("required", []))
    if "$ref" in schema:
        url, _, pointer = (schema["$ref"] if schema["$ref"][0] != "#" else base + schema["$ref"]).partition("#")
        more, needed = properties(spec, spec[url]["$defs"][pointer.rpartition("/")[2]], url)
        held, required = {**more, **held}, required | needed
    return held, required


def test_schemas_say_what_the_official_client_was_generated_from(openlineage_spec: dict[str, Any]) -> None:
    official = client_classes()
    filled_in = {"schemaURL", "producer", "_producer", "_schemaURL"}  # by the client: required, with a default
    compared = 0
    for url, document in openlineage_spec.items():
        for name, schema in document["$defs"].items():
            fields = {field.name: field for field in attr.fields(official[f"{url}#/$defs/{name}"])}
            held, required = properties(openlineage_spec, schema, url)
            assert set(held) == set(fields), name
            needed = {field for field, made in fields.items() if made.default is attr.NOTHING}
            assert required - filled_in == needed, name
            for field, said in held.items():
                said_type = said.get("type", "object" if "$ref" in said else "string")  # an enum is of strings
                assert said_type == json_type(str(fields[field].type)), f"{name}.{field}"
            compared += 1
    assert compared > 2 * len(openlineage_spec)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    job = Job("train.demo", "Train.", "FLOW", str(assets.CODE / "flows" / "train.py"), "0" * 40)
    parent = Run(replace(job, name="pipeline.demo"), IDENTITY[:-1] + "c", place(Backend(tmp_path)), ("Prefect", "3"))
    due = datetime(2026, 1, 1, tzinfo=UTC)
    return Run(job, IDENTITY, place(Backend(tmp_path)), ("Prefect", "3"), parent, due)


def written(run: Run, state: RunState = RunState.COMPLETE, error: str = "") -> dict[str, Any]:
    """The event as a reader of the file or an endpoint gets it."""
    return json.loads(Serde.to_json(event(run, state, error)))  # type: ignore[no-any-return]


def test_event_of_every_asset_and_facet_is_valid(
    run: Run, warehouse: Warehouse, tokenizer: Any, tmp_path: Path, wrong_in_event: Check
) -> None:
    version = publish(warehouse, "openlineage", "{}", "0" * 40, EpisodeFilter())
    shards = build_shards(warehouse, version, tokenizer, warehouse.home / "shards")
    trained = ModelRecord(model_id="model-1", training_run_id="run-1", place="m", digest="d", created_at=NOW)
    (tmp_path / "notes.txt").write_text("x")
    teacher = TeacherConfig(model="owner/name", revision="r1", endpoints=("http://127.0.0.1:1/v1",))
    run.reads(
        [
            assets.source(str(tmp_path / "notes.txt")),
            assets.source("owner/name"),
            assets.source(str(assets.EXAMPLES / "peps.parquet")),
            assets.teacher(teacher),
            assets.benchmark(BenchmarkData(name="heldout:sim-1", conversations=())),
            *assets.tables(TABLES, warehouse.snapshot(), {"episodes": 3}),
        ]
    )
    home = warehouse.home
    run.writes([assets.dataset(version), assets.shard_set(home, shards), assets.model(home, trained)])
    told = written(run, RunState.FAIL, "why")
    assert wrong_in_event(told) == []
    assert set(told["run"]["facets"]) == {"processing_engine", "parent", "nominalTime", "errorMessage"}
    outputs = {out["name"].rpartition("/")[2]: out for out in told["outputs"]}
    facets = outputs["openlineage@1"]["facets"]
    assert facets["version"]["datasetVersion"] == version.digest
    assert [field["name"] for field in facets["schema"]["fields"]][:2] == ["episode_id", "context_id"]
    assert outputs["model-1"]["facets"]["version"]["datasetVersion"] == "d"
    shown = outputs[shards.shard_set_id]
    assert shown["facets"]["version"]["datasetVersion"] == shards.manifest_digest
    files = list((warehouse.home / shards.place).glob("*.parquet"))
    counts = {key: shown["outputFacets"]["outputStatistics"][key] for key in ("rowCount", "size", "fileCount")}
    assert counts == {"rowCount": shards.rows, "size": sum(f.stat().st_size for f in files), "fileCount": len(files)}


def test_schema_facet_has_the_columns_of_the_table_nested_ones_too(run: Run, warehouse: Warehouse) -> None:
    run.reads(assets.tables(TABLES, warehouse.snapshot()))
    columns = warehouse.query(
        """SELECT table_name, column_name, data_type FROM duckdb_columns()
           WHERE database_name = 'lake' AND column_name <> 'row_digest'"""  # which no command hands out
    )
    for asset in written(run)["inputs"]:
        told = [(f["name"], f["type"].replace('"', "")) for f in asset["facets"]["schema"]["fields"]]
        there = columns.filter(columns["table_name"] == asset["name"].rpartition("/")[2])
        assert sorted(told) == sorted((c, t.replace('"', "")) for c, t in there["column_name", "data_type"].rows())
    contexts = next(asset for asset in written(run)["inputs"] if asset["name"].endswith("/contexts"))
    segments = next(f for f in contexts["facets"]["schema"]["fields"] if f["name"] == "segments")
    assert [f["name"] for f in segments["fields"]] == ["user", "assistant"]


BROKEN: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("runId", lambda e: e["run"].update(runId="run-1")),
    ("eventType", lambda e: e.update(eventType="DONE")),
    ("eventTime", lambda e: e.update(eventTime="yesterday")),
    ("required", lambda e: e["job"].pop("namespace")),
    ("required", lambda e: e.pop("job")),
    ("nevaluated", lambda e: e.update(more=1)),
    ("producer", lambda e: e.update(producer="evo")),
    ("no schema", lambda e: e["run"]["facets"].update(mine={"_producer": "a:b", "_schemaURL": "a:b"})),
    ("no schema", lambda e: e["job"]["facets"].update(sql=e["job"]["facets"]["jobType"])),
    ("_producer", lambda e: e["job"]["facets"]["jobType"].pop("_producer")),
    ("integration", lambda e: e["job"]["facets"]["jobType"].pop("integration")),
    ("more", lambda e: e["job"]["facets"]["jobType"].update(more="x")),
    ("runId", lambda e: e["run"]["facets"]["parent"]["run"].update(runId="x")),
    ("runId", lambda e: e["run"]["facets"]["parent"]["root"]["run"].pop("runId")),
    ("nominalStartTime", lambda e: e["run"]["facets"]["nominalTime"].update(nominalStartTime="2026-01-01")),
    ("datasetVersion", lambda e: e["inputs"][0]["facets"]["version"].update(datasetVersion=3)),
    ("name", lambda e: e["inputs"][0]["facets"]["schema"]["fields"][0].pop("name")),
    ("ordinal", lambda e: e["inputs"][0]["facets"]["schema"]["fields"][0].update(ordinal_position="1")),
    ("name", lambda e: e["inputs"][0].pop("name")),
    ("rowCount", lambda e: e["outputs"][0]["outputFacets"]["outputStatistics"].update(rowCount="3")),
]


@pytest.mark.parametrize(("says", "spoil"), BROKEN)
def test_broken_event_is_not_valid(
    run: Run, wrong_in_event: Check, says: str, spoil: Callable[[dict[str, Any]], object]
) -> None:
    run.reads([assets.table("documents", 1)])
    run.writes([assets.table("episodes", 1, rows=3)])
    told = written(run)
    assert wrong_in_event(told) == []
    spoil(told)
    wrong = wrong_in_event(told)
    assert wrong
    assert re.search(says, " ".join(wrong)), wrong


def test_names_say_nothing_of_credentials() -> None:
    where = place(Backend(Path("w"), "postgresql://user:secret@db.example/lake?password=secret", "s3://bucket/a"))
    assert where == ("postgres://db.example:5432", "lake", "s3://bucket/a")


def test_names_do_not_depend_on_how_a_folder_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    assert place(Backend(Path("w"))) == place(Backend(tmp_path / "x" / ".." / "w"))
    assert assets.source("notes/") == assets.source(str(tmp_path / "notes"))


def test_same_version_has_one_name_and_two_versions_have_two() -> None:
    fields = {"dataset_id": "ds-1", "digest": "d", "parent": None, "recipe": "{}", "git_commit": "", "snapshot": 1}
    first = DatasetVersion(name="a", number=1, episodes=1, created_at=NOW, **fields)  # type: ignore[arg-type]
    assert assets.dataset(first).name == assets.dataset(first.model_copy()).name
    assert assets.dataset(first).name != assets.dataset(first.model_copy(update={"number": 2})).name


def test_message_holds_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-0123456789")
    said = "the key sk-0123456789 was rejected at http://user:pass@host/v1\nTraceback"
    assert without_secrets(said) == "the key *** was rejected at http://***@host/v1"
    told = json.dumps(written(run, RunState.FAIL, said))
    assert "sk-0123" not in told
    assert "pass@" not in told


# A process of its own each: what pytest imported cannot be imported in them.
APPEND = """
import json, sys
from pathlib import Path
from evoembedding.warehouse.openlineage.event_log import append_line
for number in range(40):
    row = {"writer": int(sys.argv[2]), "number": number, "pad": "x" * 30_000}
    append_line(Path(sys.argv[1]), json.dumps(row).encode())
"""


def test_processes_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "lineage" / "openlineage-2026-01.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", APPEND, str(path), str(writer)]) for writer in range(4)]
    assert [process.wait(timeout=200) for process in writers] == [0] * 4
    seen = [(one["writer"], one["number"]) for one in map(json.loads, path.read_text().splitlines())]
    assert sorted(seen) == [(writer, number) for writer in range(4) for number in range(40)]


def test_half_a_line_of_a_killed_writer_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "lineage" / "openlineage-2026-01.jsonl"
    append_line(path, b'{"a": 1}')
    with path.open("ab") as handle:
        handle.write(b'{"a": ')
    append_line(path, b'{"a": 3}')
    assert list(read_events(tmp_path)) == [{"a": 1}, {"a": 3}]


# What a full disk does: some bytes go, the rest not.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from evoembedding.warehouse.openlineage.event_log import append_line
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    append_line(Path(sys.argv[1]), b"y" * 2000)
except OSError:
    sys.exit(7)
"""


def test_line_that_does_not_fit_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_line(path, b"x" * 500)
    assert subprocess.run([sys.executable, "-c", FULL_DISK, str(path)]).returncode == 7
    assert path.read_bytes() == b"x" * 500 + b"\n"

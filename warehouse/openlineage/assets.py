"""Assets: what runs read and make, as OpenLineage events name and describe it. The standard calls them datasets.

A table is one asset, whose version is the DuckLake snapshot. What never changes (a dataset version, a shard set, a
model) is an asset each, named by its table and id: whoever reads it later names it the same, on whichever machine, and
so the edges of separate runs join.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import polars as pl
from openlineage.client import facet_v2 as facets
from openlineage.client import set_producer
from pydantic import BaseModel

from evoembedding.schemas.arrow import polars_schema
from evoembedding.schemas.benchmark import BenchmarkData
from evoembedding.schemas.dataset import DatasetVersion, ModelRecord, ShardSet
from evoembedding.schemas.episode import Episode
from evoembedding.schemas.expect import Found
from evoembedding.schemas.places import resolve
from evoembedding.schemas.shard import ShardRow
from evoembedding.schemas.teacher import TeacherConfig
from evoembedding.warehouse.backend import Backend
from evoembedding.warehouse.shards.shard_sets import read_manifest
from evoembedding.warehouse.tables import TABLES, duckdb_type

PRODUCER = f"pkg:generic/evoembedding@{installed('evoembedding')}"  # a package URL: no web address is known to be ours
CODE = Path(__file__).parents[2]
EXAMPLES = CODE / "flows" / "examples"
HUB = "https://huggingface.co"
set_producer(PRODUCER)
InputFacet = facets.InputDatasetFacet


@dataclass(frozen=True)
class Asset:
    """Something that a run reads or makes. `rows`, `size` (bytes) and `files` are those of this run, where known.

    `as_input` is what is told of it where it is read.
    """

    name: str
    facets: Mapping[str, facets.DatasetFacet]
    namespace: str = ""  # '' is the warehouse's own
    rows: int | None = None
    size: int | None = None
    files: int | None = None
    as_input: Mapping[str, InputFacet] = field(default_factory=dict)


class Place(NamedTuple):
    """A warehouse: its namespace, what the names of its assets begin with, and its URI."""

    namespace: str
    root: str
    uri: str


def place(backend: Backend) -> Place:
    """The place of a warehouse: that of its catalog. The user of a database is left out."""
    folder = backend.folder.resolve()
    if not backend.catalog:
        return Place("file", folder.as_posix(), backend.data or folder.as_uri())
    url = urlsplit(backend.catalog)
    namespace = f"postgres://{url.hostname or 'localhost'}:{url.port or 5432}"  # as the standard names databases
    return Place(namespace, url.path.strip("/"), backend.data or folder.as_uri())


def table(name: str, snapshot: int, rows: int | None = None) -> Asset:
    """A table of the warehouse as of a snapshot."""
    record = TABLES[name].record
    description = (record.__doc__ or name).strip().splitlines()[0]
    return Asset(name, _facets(str(snapshot), "TABLE", description, record), rows=rows)


def tables(names: Iterable[str], snapshot: int, rows: Mapping[str, int] | None = None) -> list[Asset]:
    """Several tables; `rows` holds the counts that are known."""
    return [table(name, snapshot, (rows or {}).get(name)) for name in names]


def dataset(version: DatasetVersion, found: Sequence[Found] = ()) -> Asset:
    """A dataset version, a set of episodes; its version is its digest. `found` is what was found of it, if it was
    judged.
    """
    description = (
        f"{version.episodes} episodes, published {version.created_at.isoformat()}, after {version.parent or 'none'}"
    )
    return Asset(
        f"dataset_versions/{version.label}",
        _facets(version.digest, "TABLE", description, Episode, kind="DATASET_VERSION"),
        rows=version.episodes,
        as_input={"dataQualityAssertions": _assertions(found)} if found else {},
    )


def _assertions(found: Sequence[Found]) -> facets.InputDatasetFacet:
    """What was judged, as assertions; what could not be is none."""
    form = facets.data_quality_assertions_dataset
    return form.DataQualityAssertionsDatasetFacet(
        assertions=[
            form.Assertion(
                assertion=one.direction,
                success=one.passed,
                severity=one.severity,
                name=f"{one.measure} {one.part}".strip(),
                description=one.reason,
                expected=f"{one.threshold:g}",
                actual=str(one.drift if one.direction == "drift_at_most" else one.value),
            )
            for one in found
            if one.passed is not None
        ]
    )


def shard_set(home: Path, shards: ShardSet) -> Asset:
    """A shard set; its version is its manifest's digest."""
    folder = resolve(shards.place, home)
    files = read_manifest(folder).files
    description = f"length-sorted shards of {shards.dataset_id} for tokenizer {shards.tokenizer_digest[:16]}"
    return Asset(
        f"shard_sets/{shards.shard_set_id}",
        _facets(shards.manifest_digest, "FILE", description, ShardRow, folder),
        rows=shards.rows,
        size=sum(file.bytes for file in files),
        files=len(files),
    )


def model(home: Path, record: ModelRecord) -> Asset:
    """A model; its version is the digest of its weights."""
    description = f"made by {record.training_run_id}, {record.created_at.isoformat()}"
    path = resolve(record.place, home)
    return Asset(f"models/{record.model_id}", _facets(record.digest, "MODEL", description, path=path))


def teacher(config: TeacherConfig) -> Asset:
    """A teacher, by its model's name: endpoints change. Its version is the model's revision, where one is given."""
    description = "a model that was asked for texts or checks"
    return Asset(f"teachers/{config.model}", _facets(config.revision, "MODEL", description))


def benchmark(read: BenchmarkData) -> Asset:
    """A benchmark by its full name, as scores name it; its version is the digest of what it holds."""
    return Asset(
        f"benchmarks/{read.name}", _facets(read.digest, "FILE", "conversations with questions and gold segments")
    )


def source(given: str) -> Asset:
    """A file or folder by its path, an example of ours by its path in the package, or a Hugging Face dataset id."""
    description, path = "a source of documents", Path(given).resolve()
    if path.exists() and not path.is_relative_to(EXAMPLES):
        return Asset(path.as_posix(), _facets("", "FILE", description, path=path), namespace="file")
    namespace, name, uri = HUB, f"datasets/{given}", f"{HUB}/datasets/{quote(given)}"
    if path.exists():
        name = path.relative_to(CODE).as_posix()
        namespace, uri = PRODUCER.rpartition("@")[0], f"{PRODUCER}#{quote(name)}"
    return Asset(
        name, {**_facets("", "FILE", description), "dataSource": _data_source(namespace, uri)}, namespace=namespace
    )


def named(asset: Asset, where: Place) -> tuple[str, str, dict[str, facets.DatasetFacet]]:
    """Namespace, name and facets of an asset of a warehouse."""
    if asset.namespace:
        return asset.namespace, asset.name, dict(asset.facets)
    own = {"dataSource": _data_source("evo warehouse", where.uri), **asset.facets}
    return where.namespace, f"{where.root}/{asset.name}", own


def _facets(
    version: str,
    type_: str,
    description: str,
    record: type[BaseModel] | None = None,
    path: Path | None = None,
    kind: str = "",
) -> dict[str, facets.DatasetFacet]:
    made: dict[str, facets.DatasetFacet] = {
        "datasetType": facets.dataset_type_dataset.DatasetTypeDatasetFacet(datasetType=type_, subType=kind or None),
        "documentation": facets.documentation_dataset.DocumentationDatasetFacet(description=description),
    }
    if version:
        made["version"] = facets.dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=version)
    if record:
        made["schema"] = facets.schema_dataset.SchemaDatasetFacet(fields=_fields(polars_schema(record)))
    if path:
        made["dataSource"] = _data_source("file", path.absolute().as_uri())
    return made


def _data_source(name: str, uri: str) -> facets.DatasetFacet:
    return facets.datasource_dataset.DatasourceDatasetFacet(name=name, uri=uri)


def _fields(columns: Mapping[str, pl.DataType]) -> list[facets.schema_dataset.SchemaDatasetFacetFields]:
    """Columns with their DuckDB types; those of structs, also in lists, with their fields."""
    made = []
    for position, (name, kind) in enumerate(columns.items(), start=1):
        inner: object = kind
        while isinstance(inner, pl.List):
            inner = inner.inner
        nested = pl.Schema((f.name, f.dtype) for f in inner.fields) if isinstance(inner, pl.Struct) else {}
        made.append(
            facets.schema_dataset.SchemaDatasetFacetFields(
                name=name, type=duckdb_type(kind), ordinal_position=position, fields=_fields(nested)
            )
        )
    return made

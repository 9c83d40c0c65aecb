"""The tables of the warehouse: each from a record, with the key that appends are idempotent on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import duckdb
import polars as pl
from pydantic import BaseModel

from evoembedding.schemas.arrow import polars_schema
from evoembedding.schemas.dataset import (
    Acceptance,
    DatasetMember,
    DatasetTag,
    DatasetVersion,
    DocumentSource,
    Evaluation,
    ExpectationRow,
    Failure,
    Import,
    ModelRecord,
    Outcome,
    SchemaVersion,
    ShardSet,
    StageFingerprint,
    TrainingMetric,
    TrainingRun,
    Withdrawal,
)
from evoembedding.schemas.episode import Context, Document, Episode, Evidence, Question, Verdict
from evoembedding.schemas.registry import GateRow, ModelAlias, RegisteredModel
from evoembedding.schemas.retraining import RetrainDecision
from evoembedding.schemas.teacher import TeacherCall


@dataclass(frozen=True)
class Table:
    """A record and the columns that identify its rows."""

    record: type[BaseModel]
    key: tuple[str, ...]


SCHEMA = 2  # raise when a column changes its name, type or meaning, with a step in warehouse/migration
# A fingerprint in a key: other settings add rows and replace none, so that rows say which settings have done what.
# A sequence in a key: every move is kept, and the last one holds.
TABLES: dict[str, Table] = {
    "documents": Table(Document, ("document_id",)),
    "document_sources": Table(DocumentSource, ("source", "file", "source_id", "document_id", "sequence")),
    "contexts": Table(Context, ("context_id",)),
    "questions": Table(Question, ("question_id",)),
    "evidence": Table(Evidence, ("question_id", "fingerprint")),
    "verdicts": Table(Verdict, ("question_id", "check_name", "fingerprint")),
    "episodes": Table(Episode, ("episode_id",)),
    "dataset_versions": Table(DatasetVersion, ("dataset_id",)),
    "dataset_members": Table(DatasetMember, ("dataset_id", "episode_id")),
    "dataset_tags": Table(DatasetTag, ("name", "tag", "sequence")),
    "expectations": Table(ExpectationRow, ("dataset_id", "sequence", "rule")),
    "acceptances": Table(Acceptance, ("dataset_id", "sequence")),
    "imports": Table(Import, ("import_id",)),
    "shard_sets": Table(ShardSet, ("shard_set_id",)),
    "training_runs": Table(TrainingRun, ("training_run_id",)),
    "training_metrics": Table(TrainingMetric, ("training_run_id", "step", "name")),
    "models": Table(ModelRecord, ("model_id",)),
    "evaluations": Table(Evaluation, ("evaluation_id",)),
    "registered_models": Table(RegisteredModel, ("name", "number")),
    "model_aliases": Table(ModelAlias, ("name", "alias", "sequence")),
    "gate_rules": Table(GateRow, ("gate_id", "rule")),
    "retrain_decisions": Table(RetrainDecision, ("decision_id", "sequence")),
    "withdrawals": Table(Withdrawal, ("source", "kind")),
    "failures": Table(Failure, ("failure_id",)),
    "outcomes": Table(Outcome, ("item", "fingerprint", "attempt")),
    "fingerprints": Table(StageFingerprint, ("fingerprint", "scope")),
    "teacher_calls": Table(TeacherCall, ("call_id",)),
    "schema_versions": Table(SchemaVersion, ("version",)),
}

DIGEST = "row_digest"  # a column of every table, and of no record: see warehouse/row_digests.py
SCALARS: dict[pl.DataType, str] = {
    pl.String(): "VARCHAR",
    pl.Int64(): "BIGINT",
    pl.Float64(): "DOUBLE",
    pl.Boolean(): "BOOLEAN",
    pl.Datetime("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
}


def duckdb_type(kind: pl.DataType) -> str:
    """The DuckDB type of a Polars type, lists and structs included."""
    if isinstance(kind, pl.List):
        return duckdb_type(_instance(kind.inner)) + "[]"
    if isinstance(kind, pl.Struct):
        return "STRUCT(" + ", ".join(f'"{f.name}" {duckdb_type(_instance(f.dtype))}' for f in kind.fields) + ")"
    return SCALARS[kind]


def columns(name: str) -> dict[str, str]:
    """The columns of a table with their DuckDB types: the record's, and the digest of each row."""
    return {c: duckdb_type(kind) for c, kind in polars_schema(TABLES[name].record).items()} | {DIGEST: "UBIGINT"}


def columns_of(con: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    """The columns that the attached catalog has, by table."""
    there: dict[str, set[str]] = {}
    rows = con.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'lake'").fetchall()
    for table, column in rows:
        there.setdefault(table, set()).add(column)
    return there


def missing_columns(name: str, there: Collection[str]) -> list[str]:
    """Statements that add the columns which an older version of this code did not know.

    Older rows hold the record's default, and NULL in lists: DuckLake takes no list as a column's default.
    """
    statements = []
    for column, kind in columns(name).items():
        if column not in there:
            default = "" if kind.endswith("[]") or column == DIGEST else f" DEFAULT {default_of(name, column)}"
            statements.append(f'ALTER TABLE lake.{name} ADD COLUMN "{column}" {kind}{default}')
    return statements


def default_of(name: str, column: str) -> str:
    """The SQL of a column's default; NULL where the record has none."""
    default = TABLES[name].record.model_fields[column].default
    if default == ():
        return "[]"
    return repr(default) if isinstance(default, str | int | float) else "NULL"


def _instance(kind: object) -> pl.DataType:
    made = kind() if isinstance(kind, type) else kind
    assert isinstance(made, pl.DataType)
    return made


def create_statement(name: str) -> str:
    """`CREATE TABLE IF NOT EXISTS` of a table."""
    return f"CREATE TABLE IF NOT EXISTS lake.{name} (" + ", ".join(f'"{c}" {t}' for c, t in columns(name).items()) + ")"

"""Impact: from a document, context, episode, teacher call or teacher model up to everything that used it."""

from __future__ import annotations

from typing import Any

from schemas.dataset import DatasetVersion
from schemas.errors import EvoError
from warehouse.catalog import Warehouse
from warehouse.lineage import TraceNode, model_facts
from warehouse.versions import find_version, list_versions

# Contexts, and those that were made from them: a memory's source is a context as well.
_CONTEXTS = """WITH RECURSIVE used(context_id) AS (
        SELECT context_id FROM lake.contexts WHERE {among}
        UNION SELECT c.context_id FROM lake.contexts c JOIN used ON list_contains(c.source_ids, used.context_id))
    SELECT episode_id FROM lake.episodes SEMI JOIN used USING (context_id)"""
_CALLS = """WITH RECURSIVE calls AS (SELECT call_id FROM lake.teacher_calls WHERE {column} = $1),
    used(context_id) AS (
        SELECT context_id FROM (SELECT context_id, unnest(calls) AS call_id FROM lake.contexts)
        SEMI JOIN calls USING (call_id)
        UNION SELECT c.context_id FROM lake.contexts c JOIN used ON list_contains(c.source_ids, used.context_id)),
    asked AS (
        SELECT question_id FROM (SELECT question_id, unnest(calls) AS call_id FROM lake.questions
                                 UNION ALL SELECT question_id, unnest(calls) FROM lake.evidence
                                 UNION ALL SELECT question_id, unnest(calls) FROM lake.verdicts)
        SEMI JOIN calls USING (call_id))
    SELECT episode_id FROM lake.episodes SEMI JOIN used USING (context_id)
    UNION SELECT episode_id FROM lake.episodes SEMI JOIN asked USING (question_id)"""
# What an id may be: the kind's name, its table and column, and the query of the episodes that came from it.
SOURCES: list[tuple[str, str, str, str]] = [
    ("document", "documents", "document_id", _CONTEXTS.format(among="list_contains(document_ids, $1)")),
    ("context", "contexts", "context_id", _CONTEXTS.format(among="context_id = $1")),
    ("question", "questions", "question_id", "SELECT episode_id FROM lake.episodes WHERE question_id = $1"),
    ("episode", "episodes", "episode_id", "SELECT episode_id FROM lake.episodes WHERE episode_id = $1"),
    ("teacher call", "teacher_calls", "call_id", _CALLS.format(column="call_id")),
    ("teacher model", "teacher_calls", "model", _CALLS.format(column="model")),
]


def impact(warehouse: Warehouse, identity: str) -> TraceNode:
    """The tree above an id: the dataset versions that hold episodes made from it, and what was made of those.

    Raises:
        EvoError: nothing has that id.
    """
    for kind, table, column, episodes in SOURCES:
        known = warehouse.query(f"SELECT 1 FROM lake.{table} WHERE {column} = $1 LIMIT 1", (identity,))  # noqa: S608
        if len(known):
            return _source(warehouse, kind, identity, episodes)
    by_id = (version for version in list_versions(warehouse) if version.dataset_id == identity)
    version = next(by_id, None) or find_version(warehouse, identity)
    if version is not None:
        return _dataset(warehouse, version, {"episodes": str(version.episodes)})
    raise EvoError(
        f"unknown id {identity[:80]!r}; nothing was looked up; give a document, context, question, episode, teacher "
        "call, teacher model or NAME@N"
    )


def models_of(node: TraceNode) -> list[str]:
    """The ids of all models in a tree, in order, each once."""
    own = [node.id] if node.kind == "model" else []
    return list(dict.fromkeys([*own, *(model for child in node.children for model in models_of(child))]))


def _source(warehouse: Warehouse, kind: str, identity: str, episodes: str) -> TraceNode:
    total = warehouse.query(f"SELECT count(*) FROM ({episodes})", (identity,)).item()  # noqa: S608
    rows = warehouse.query(
        f"""SELECT v.*, held.among FROM lake.dataset_versions v JOIN
            (SELECT dataset_id, count(*) AS among FROM lake.dataset_members SEMI JOIN ({episodes}) USING (episode_id)
             GROUP BY dataset_id) held USING (dataset_id) ORDER BY v.created_at, v.name, v.number""",  # noqa: S608
        (identity,),
    )
    children = []
    for row in rows.iter_rows(named=True):
        among = row.pop("among")
        version = DatasetVersion(**row)
        facts = {"episodes from it": f"{among} of {version.episodes}"}
        children.append(_dataset(warehouse, version, facts))
    facts = {"episodes": str(total), "dataset versions": str(len(children))}
    node = TraceNode(kind, identity, identity, facts, tuple(children))
    return TraceNode(kind, identity, identity, {**facts, "models": str(len(models_of(node)))}, node.children)


def _dataset(warehouse: Warehouse, version: DatasetVersion, facts: dict[str, str]) -> TraceNode:
    children = tuple(
        TraceNode(
            "shard set",
            row["shard_set_id"],
            row["shard_set_id"],
            {"rows": str(row["rows"])},
            _runs(warehouse, row["shard_set_id"]),
        )
        for row in _rows(warehouse, "shard_sets", "dataset_id", version.dataset_id)
    )
    return TraceNode("dataset", version.dataset_id, version.label, facts, children)


def _runs(warehouse: Warehouse, shard_set_id: str) -> tuple[TraceNode, ...]:
    return tuple(
        TraceNode(
            "training run",
            row["training_run_id"],
            row["training_run_id"],
            {"steps": str(row["steps"]), "created": row["created_at"]},
            tuple(
                TraceNode("model", model["model_id"], model["model_id"], model_facts(warehouse, model))
                for model in _rows(warehouse, "models", "training_run_id", row["training_run_id"])
            ),
        )
        for row in _rows(warehouse, "training_runs", "shard_set_id", shard_set_id)
    )


def _rows(warehouse: Warehouse, table: str, column: str, identity: str) -> list[dict[str, Any]]:
    query = f"SELECT * FROM lake.{table} WHERE {column} = ? ORDER BY created_at"  # noqa: S608
    return warehouse.query(query, (identity,)).to_dicts()

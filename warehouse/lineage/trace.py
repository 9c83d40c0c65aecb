"""Lineage: from a model, or anything else that has an id, down to the documents and teacher calls that it came from.

An id comes in; a tree of `TraceNode` goes out, whose children are what a node was made from.
"""

# ruff: noqa: S608 - what is formatted into queries are constants of ours
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl

from evoembedding.schemas.dataset import DatasetVersion, Import
from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import find_version, list_versions, recipe_name, resolve
from evoembedding.warehouse.lineage.origin_nodes import (
    call_nodes,
    context_nodes,
    document_nodes,
    episode_nodes,
    question_nodes,
    source_nodes,
)
from evoembedding.warehouse.lineage.tree import Facts, TraceNode
from evoembedding.warehouse.lineage.version_nodes import contents, documents_under
from evoembedding.warehouse.lineage.withdrawal_marks import marked
from evoembedding.warehouse.registry.labels import labels_of

ROWS_WITH_FINGERPRINTS = ("contexts", "questions", "evidence", "verdicts", "episodes")


def trace(warehouse: Warehouse, identity: str, limit: int = 3) -> TraceNode:
    """The tree under an id: a model, score, run, shard set, dataset (id or label), episode, question, context,
    document, teacher call, teacher model or stage fingerprint.

    At most `limit` samples of each list are in it; totals are always given. 0 lists everything: the contexts of a
    dataset are then fetched while one walks over the tree.

    Raises:
        EvoError: nothing has that id.
    """
    return marked(warehouse, _trace(warehouse, identity, limit))


def _trace(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    found = warehouse.query(f"SELECT kind FROM ({_LOOK_UP}) ORDER BY n", {"id": identity})["kind"]
    if len(found):
        return KINDS[found[0]][1](warehouse, identity, limit)
    # Only then what is no key: labels, fingerprints that were never recorded, and names of teachers' models.
    version = find_version(warehouse, identity)
    if version is not None:
        return _dataset_node(warehouse, version, limit)
    if any(count for count in _under_fingerprint(warehouse, identity).values()):
        return _fingerprint(warehouse, identity, limit)
    if len(warehouse.query("SELECT 1 FROM lake.teacher_calls WHERE model = ? LIMIT 1", (identity,))):
        return _teacher_model(warehouse, identity, limit)
    raise _unknown(warehouse, identity)


def documents_of(warehouse: Warehouse, identity: str) -> pl.DataFrame:
    """All documents (document_id, source_id, title, uri, license) under a model or a dataset id or label.

    Raises:
        EvoError: it is neither.
    """
    return documents_under(warehouse, _dataset_id(warehouse, identity))


def model_facts(warehouse: Warehouse, row: dict[str, Any]) -> Facts:
    """What is told of a model's row, the number of its scores by benchmark included."""
    scores = warehouse.query(
        "SELECT benchmark, count(*) AS scores FROM lake.evaluations WHERE model_id = ? GROUP BY ALL ORDER BY benchmark",
        (row["model_id"],),
    )
    named = labels_of(warehouse, row["model_id"])
    facts: Facts = {"named": ", ".join(named)} if named else {}
    facts |= {"digest": row["digest"][:16], "place": row["place"], "created": row["created_at"]}
    for score in scores.iter_rows(named=True):
        facts[f"scores on {score['benchmark']}"] = score["scores"]
    return facts


def _model(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    row = _row(warehouse, "models", identity)
    under = _parent(warehouse, "training_runs", row["training_run_id"], limit)
    return TraceNode("model", identity, identity, model_facts(warehouse, row), under)


def _score(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    row = _row(warehouse, "evaluations", identity)
    names = ("benchmark", "measured_on", "left_out", "system", "question_type", "questions")
    facts: Facts = {name.replace("_", " "): row[name] for name in names}
    facts |= {row["metric"]: row["value"], "95 %": [row["low"], row["high"]]}
    return TraceNode("score", identity, identity, facts, _parent(warehouse, "models", row["model_id"], limit))


def _run(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    row = _row(warehouse, "training_runs", identity)
    facts = {
        "steps": row["steps"],
        "final loss": row["final_loss"],
        "seconds": row["seconds"],
        "created": row["created_at"],
    }
    under = _parent(warehouse, "shard_sets", row["shard_set_id"], limit)
    return TraceNode("training run", identity, identity, facts, under)


def _shard_set(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    row = _row(warehouse, "shard_sets", identity)
    facts = {"rows": row["rows"], "tokenizer": row["tokenizer_digest"][:16], "place": row["place"]}
    under = _parent(warehouse, "dataset_versions", row["dataset_id"], limit)
    return TraceNode("shard set", identity, identity, facts, under)


def _dataset(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    return _dataset_node(warehouse, DatasetVersion(**_row(warehouse, "dataset_versions", identity)), limit)


def _dataset_node(warehouse: Warehouse, version: DatasetVersion, limit: int) -> TraceNode:
    facts = {
        "episodes": version.episodes,
        "digest": version.digest[:16],
        "parent": version.parent,
        "commit": version.git_commit or None,
        "snapshot": version.snapshot,
        "created": version.created_at,
        "recipe": recipe_name(version.recipe),
    }
    children = (*_imports(warehouse, version.dataset_id), *contents(warehouse, version, limit))
    return TraceNode("dataset", version.dataset_id, version.label, facts, children)


def _imports(warehouse: Warehouse, dataset_id: str) -> list[TraceNode]:
    """The sources outside of this warehouse that a dataset came from."""
    rows = warehouse.query("SELECT * FROM lake.imports WHERE dataset_id = ? ORDER BY rowid", (dataset_id,))
    return [
        TraceNode("import", row["import_id"], row["source"], import_facts(Import(**row)))
        for row in rows.iter_rows(named=True)
    ]


def import_facts(one: Import) -> Facts:
    """What is told of an import; of an export, the version that it held and what that was made from."""
    facts: Facts = {
        "rows": one.rows,
        "rejected": one.rejected,
        "licence": one.licence,
        "digest": one.digest[:16],
        "created": one.created_at,
    }
    if one.revision:
        facts["revision"] = one.revision
    if one.exported:
        was = DatasetVersion.model_validate_json(one.exported)
        facts |= {"was": was.label, "recipe": recipe_name(was.recipe), "commit": was.git_commit or None}
    return facts


def _episode(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    row = _row(warehouse, "episodes", identity)
    node = episode_nodes(warehouse, [row])[0]
    return _with_origin(warehouse, node, "episodes", "episode_id", row["context_id"], limit)


def _question(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    node = question_nodes(warehouse, [identity])[0]
    context = _row(warehouse, "questions", identity)["context_id"]
    return _with_origin(warehouse, node, "questions", "question_id", context, limit)


def _with_origin(warehouse: Warehouse, node: TraceNode, table: str, column: str, context: str, limit: int) -> TraceNode:
    """A question or an episode with its context and its teacher calls."""
    chosen = f"SELECT context_id, question_id, generator FROM lake.{table} WHERE {column} = $id"
    calls = [call for _, call in call_nodes(warehouse, chosen, {"id": node.id}, limit)]
    children = (*node.children, *source_nodes(warehouse, [context], limit), *calls)
    return replace(node, children=children)


def _context(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    node = context_nodes(warehouse, [identity], limit)[0]
    chosen = "SELECT context_id, NULL::VARCHAR AS question_id, generator FROM lake.contexts WHERE context_id = $id"
    calls = [call for _, call in call_nodes(warehouse, chosen, {"id": identity}, limit)]
    return replace(node, children=(*node.children, *calls))


def _document(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    return document_nodes(warehouse, [identity])[0]


def _call(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    row = _row(warehouse, "teacher_calls", identity)
    names = ("stage", "item", "model", "endpoint", "prompt_tokens", "completion_tokens", "cost")
    facts = {name.replace("_", " "): row[name] for name in (*names, "created_at")}
    return TraceNode("teacher call", identity, identity, facts | {"answer": row["content"]})


def _teacher_model(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    rows = warehouse.query(
        """SELECT stage, count(*) AS calls, sum(prompt_tokens + completion_tokens)::BIGINT AS tokens, sum(cost) AS cost
           FROM lake.teacher_calls WHERE model = ? GROUP BY stage ORDER BY stage""",
        (identity,),
    )
    facts = {
        f"{what} for {row['stage']}": row[what]
        for row in rows.iter_rows(named=True)
        for what in ("calls", "tokens", "cost")
    }
    return TraceNode("teacher model", identity, identity, facts)


def _fingerprint(warehouse: Warehouse, identity: str, limit: int) -> TraceNode:
    """What a stage's fingerprint stands for, how many rows carry it, and the stage before."""
    facts: Facts = {
        f"rows of {name}": count for name, count in _under_fingerprint(warehouse, identity).items() if count
    }
    before: tuple[TraceNode, ...] = ()
    rows = warehouse.query("SELECT * FROM lake.fingerprints WHERE fingerprint = ? ORDER BY rowid", (identity,))
    # Several scopes may have recorded it: what it stands for is the same in each.
    for row in rows.head(1).iter_rows(named=True):
        components = json.loads(row["components"])
        stage = {name: row[name] for name in ("stage", "kind", "scope")}
        facts = stage | {"recorded": row["created_at"]} | facts | components
        before = (_fingerprint(warehouse, row["before"], limit),) if row["before"] else ()
    return TraceNode("stage fingerprint", identity, identity, facts, before)


def _under_fingerprint(warehouse: Warehouse, identity: str) -> dict[str, int]:
    counts = " UNION ALL ".join(
        f"SELECT '{name}' AS name, count(*) AS n FROM lake.{name} WHERE fingerprint = $id"
        for name in ROWS_WITH_FINGERPRINTS
    )
    return dict(warehouse.query(counts, {"id": identity}).iter_rows())


def _parent(warehouse: Warehouse, table: str, identity: str, limit: int) -> tuple[TraceNode, ...]:
    """The node of a key; nothing when the row is not there."""
    column, walk = KINDS[table]
    there = warehouse.query(f"SELECT 1 FROM lake.{table} WHERE {column} = ? LIMIT 1", (identity,))
    return (walk(warehouse, identity, limit),) if len(there) else ()


def _row(warehouse: Warehouse, table: str, identity: str) -> dict[str, Any]:
    query = f"SELECT * FROM lake.{table} WHERE {KINDS[table][0]} = ?"
    return warehouse.query(query, (identity,)).row(0, named=True)


def _dataset_id(warehouse: Warehouse, identity: str) -> str:
    rows = warehouse.query(
        """SELECT dataset_id FROM lake.dataset_versions WHERE dataset_id = $1
           UNION ALL
           SELECT s.dataset_id FROM lake.models m JOIN lake.training_runs r USING (training_run_id)
           JOIN lake.shard_sets s USING (shard_set_id) WHERE m.model_id = $1""",
        (identity,),
    )
    return str(rows["dataset_id"][0]) if len(rows) else resolve(warehouse, identity).dataset_id


def _unknown(warehouse: Warehouse, identity: str) -> EvoError:
    models = warehouse.query("SELECT model_id FROM lake.models ORDER BY rowid DESC LIMIT 3")["model_id"]
    known = [*models, *(version.label for version in list_versions(warehouse)[-3:])]
    return EvoError(
        f"unknown id {identity[:80]!r}; nothing was traced; "
        + (f"try one of: {', '.join(known)}" if known else "the warehouse holds no dataset or model yet")
    )


Walk = Callable[[Warehouse, str, int], TraceNode]
# By table; where an id could be of two, the first is meant.
KINDS: dict[str, tuple[str, Walk]] = {
    "models": ("model_id", _model),
    "evaluations": ("evaluation_id", _score),
    "training_runs": ("training_run_id", _run),
    "shard_sets": ("shard_set_id", _shard_set),
    "dataset_versions": ("dataset_id", _dataset),
    "episodes": ("episode_id", _episode),
    "questions": ("question_id", _question),
    "contexts": ("context_id", _context),
    "documents": ("document_id", _document),
    "teacher_calls": ("call_id", _call),
    "fingerprints": ("fingerprint", _fingerprint),
}
_LOOK_UP = " UNION ALL ".join(
    f"(SELECT {n} AS n, '{table}' AS kind FROM lake.{table} WHERE {column} = $id LIMIT 1)"
    for n, (table, (column, _)) in enumerate(KINDS.items())
)

"""Lineage: from a model down to the documents it came from, along the foreign keys of the tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from schemas.dataset import DatasetVersion
from schemas.errors import EvoError
from warehouse.catalog import Warehouse
from warehouse.versions import find_version, list_versions, resolve

MEMBERS = """lake.episodes e SEMI JOIN
    (SELECT episode_id FROM lake.dataset_members WHERE dataset_id = ?) m ON e.episode_id = m.episode_id"""


@dataclass(frozen=True)
class TraceNode:
    """A thing, what is known of it, and what it was made from."""

    kind: str
    id: str
    label: str
    facts: dict[str, str]
    children: tuple[TraceNode, ...] = ()


def trace(warehouse: Warehouse, identity: str, limit: int = 3) -> TraceNode:
    """The tree under a model, run, shard set, dataset (id or label), episode, context, document or teacher call.

    At most `limit` samples are listed; totals are always given.

    Raises:
        EvoError: nothing has that id.
    """
    for table, (column, walk) in KINDS.items():
        rows = warehouse.query(f"SELECT * FROM lake.{table} WHERE {column} = ?", (identity,))  # noqa: S608
        if len(rows):
            return walk(warehouse, rows.row(0, named=True), limit)
    version = find_version(warehouse, identity)
    if version is None:
        raise _unknown(warehouse, identity)
    return _dataset(warehouse, version.model_dump(), limit)


def documents_of(warehouse: Warehouse, identity: str) -> pl.DataFrame:
    """All documents (document_id, source_id, title, uri, license) under a model or a dataset id or label.

    Raises:
        EvoError: it is neither.
    """
    return warehouse.query(
        f"""SELECT DISTINCT d.document_id, d.source_id, d.title, d.uri, d.license FROM lake.documents d
            SEMI JOIN (SELECT unnest(c.document_ids) AS document_id FROM lake.contexts c
                       SEMI JOIN (SELECT e.context_id FROM {MEMBERS}) k ON c.context_id = k.context_id) u
            ON d.document_id = u.document_id ORDER BY d.source_id, d.document_id""",  # noqa: S608
        (_dataset_id(warehouse, identity),),
    )


def render_tree(node: TraceNode) -> str:
    """The tree as plain text."""
    return "\n".join(_lines(node, "", ""))


def as_dict(node: TraceNode) -> dict[str, Any]:
    """The tree as plain JSON values."""
    return {
        "kind": node.kind,
        "id": node.id,
        "label": node.label,
        "facts": dict(node.facts),
        "children": [as_dict(child) for child in node.children],
    }


def _lines(node: TraceNode, first: str, rest: str) -> list[str]:
    # A title may hold line breaks or control characters; neither may draw outside its line.
    kind = "" if node.kind == "more" else node.kind
    text = " ".join(part for part in (kind, node.label, _facts(node)) if part)
    lines = [first + "".join(c if c.isprintable() else " " for c in text)]
    for number, child in enumerate(node.children):
        last = number == len(node.children) - 1
        lines += _lines(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
    return lines


def _facts(node: TraceNode) -> str:
    return f"({', '.join(f'{key}: {value}' for key, value in node.facts.items())})" if node.facts else ""


def model_facts(warehouse: Warehouse, row: dict[str, Any]) -> dict[str, str]:
    """What is told of a model's row, the number of its scores by benchmark included."""
    scores = warehouse.query(
        "SELECT benchmark, count(*) AS scores FROM lake.evaluations WHERE model_id = ? GROUP BY ALL ORDER BY benchmark",
        (row["model_id"],),
    )
    facts = {"digest": row["digest"][:16], "path": row["path"], "created": row["created_at"]}
    for score in scores.iter_rows(named=True):
        facts[f"scores on {score['benchmark']}"] = str(score["scores"])
    return facts


def _model(warehouse: Warehouse, row: dict[str, Any], limit: int) -> TraceNode:
    facts = model_facts(warehouse, row)
    return TraceNode("model", row["model_id"], row["model_id"], facts, _parent(warehouse, "training_runs", row, limit))


def _run(warehouse: Warehouse, row: dict[str, Any], limit: int) -> TraceNode:
    facts = {
        "steps": str(row["steps"]),
        "final loss": f"{row['final_loss']:.4f}",
        "seconds": f"{row['seconds']:.1f}",
        "created": row["created_at"],
    }
    identity = row["training_run_id"]
    return TraceNode("training run", identity, identity, facts, _parent(warehouse, "shard_sets", row, limit))


def _shard_set(warehouse: Warehouse, row: dict[str, Any], limit: int) -> TraceNode:
    facts = {"rows": str(row["rows"]), "tokenizer": row["tokenizer_digest"][:16], "path": row["path"]}
    identity = row["shard_set_id"]
    return TraceNode("shard set", identity, identity, facts, _parent(warehouse, "dataset_versions", row, limit))


def _dataset(warehouse: Warehouse, row: dict[str, Any], limit: int) -> TraceNode:
    version = DatasetVersion(**row)
    facts = {
        "episodes": str(version.episodes),
        "digest": version.digest[:16],
        "parent": version.parent or "none",
        "commit": version.git_commit or "none",
        "snapshot": str(version.snapshot),
        "created": version.created_at,
        "recipe": _recipe_name(version.recipe),
    }
    children = (*_generators(warehouse, version, limit), _documents_under(warehouse, version.dataset_id, limit))
    return TraceNode("dataset", version.dataset_id, version.label, facts, children)


def _generators(warehouse: Warehouse, version: DatasetVersion, limit: int) -> list[TraceNode]:
    totals = warehouse.query(
        f"""SELECT generator, count(*) AS episodes, count(DISTINCT context_id) AS contexts
            FROM {MEMBERS} GROUP BY generator ORDER BY generator""",  # noqa: S608
        (version.dataset_id,),
    )
    nodes = []
    for row in totals.iter_rows(named=True):
        facts = {"episodes": str(row["episodes"]), "contexts": str(row["contexts"])}
        samples = warehouse.query(
            f"""SELECT c.* FROM lake.contexts c SEMI JOIN
                (SELECT e.context_id FROM {MEMBERS} WHERE e.generator = ?) k ON c.context_id = k.context_id
                ORDER BY c.context_id LIMIT ?""",  # noqa: S608
            (version.dataset_id, row["generator"], limit),
        )
        shown = [_context(warehouse, c, limit, version.dataset_id) for c in samples.iter_rows(named=True)]
        calls = _teacher_calls(warehouse, f"{MEMBERS} WHERE e.generator = ?", (version.dataset_id, row["generator"]))
        children = (*shown, *_more("contexts", row["contexts"], len(shown)), *calls)
        nodes.append(TraceNode("generator", row["generator"], row["generator"], facts, children))
    return nodes


def _context(warehouse: Warehouse, row: dict[str, Any], limit: int, dataset_id: str = "") -> TraceNode:
    identity = row["context_id"]
    among = "e.context_id = ?" + (" AND e.episode_id IN " + IN_DATASET if dataset_id else "")
    bound = (identity, dataset_id) if dataset_id else (identity,)
    total = warehouse.query(f"SELECT count(*) FROM lake.episodes e WHERE {among}", bound).item()  # noqa: S608
    rows = warehouse.query(
        f"SELECT * FROM lake.episodes e WHERE {among} ORDER BY e.episode_id LIMIT ?",  # noqa: S608
        (*bound, limit),
    )
    episodes = [_episode_alone(episode) for episode in rows.iter_rows(named=True)]
    facts = {
        "kind": row["kind"],
        "generator": row["generator"],
        "segments": str(len(row["segments"])),
        "episodes": str(total),
    }
    children = (
        *episodes,
        *_more("episodes", total, len(episodes)),
        *_documents(warehouse, row["document_ids"], limit),
    )
    return TraceNode("context", identity, identity, facts, children)


IN_DATASET = "(SELECT episode_id FROM lake.dataset_members WHERE dataset_id = ?)"


def _episode_alone(row: dict[str, Any]) -> TraceNode:
    facts = {
        "type": row["question_type"],
        "question": row["question"],
        "answer": row["answer"],
        "evidence": ", ".join(map(str, row["evidence"])),
        "question id": row["question_id"],
    }
    return TraceNode("episode", row["episode_id"], row["episode_id"], facts)


def _episode(warehouse: Warehouse, row: dict[str, Any], limit: int) -> TraceNode:
    node = _episode_alone(row)
    calls = _teacher_calls(warehouse, "lake.episodes e WHERE e.episode_id = ?", (row["episode_id"],))
    contexts = warehouse.query("SELECT * FROM lake.contexts WHERE context_id = ?", (row["context_id"],))
    children = []
    for context in contexts.iter_rows(named=True):
        facts = {"kind": context["kind"], "generator": context["generator"], "segments": str(len(context["segments"]))}
        identity = context["context_id"]
        under = _documents(warehouse, context["document_ids"], limit)
        children.append(TraceNode("context", identity, identity, facts, tuple(under)))
    return TraceNode(node.kind, node.id, node.label, node.facts, (*children, *calls))


def _teacher_calls(warehouse: Warehouse, episodes: str, params: tuple[str, ...]) -> list[TraceNode]:
    """The calls that made the rows of some episodes (`episodes` is a FROM clause with `e`), by model and stage."""
    rows = warehouse.query(
        f"""WITH chosen AS (SELECT e.context_id, e.question_id FROM {episodes}),
                 used AS (SELECT unnest(calls) AS call_id FROM lake.contexts SEMI JOIN chosen USING (context_id)
                          UNION SELECT unnest(calls) FROM lake.questions SEMI JOIN chosen USING (question_id)
                          UNION SELECT unnest(calls) FROM lake.evidence SEMI JOIN chosen USING (question_id)
                          UNION SELECT unnest(calls) FROM lake.verdicts SEMI JOIN chosen USING (question_id))
            SELECT model, stage, count(*) AS calls, sum(prompt_tokens + completion_tokens)::BIGINT AS tokens,
                   sum(cost) AS cost, min(call_id) AS first_call
            FROM lake.teacher_calls SEMI JOIN used USING (call_id) GROUP BY model, stage ORDER BY model, stage""",  # noqa: S608
        params,
    )
    return [
        TraceNode(
            "teacher calls",
            row["first_call"],
            f"{row['model']} for {row['stage']}",
            {
                "calls": str(row["calls"]),
                "tokens": str(row["tokens"]),
                "cost": f"{row['cost']:.4f}",
                "such as": row["first_call"],
            },
        )
        for row in rows.iter_rows(named=True)
    ]


def _call(warehouse: Warehouse, row: dict[str, Any], limit: int) -> TraceNode:
    names = ("stage", "item", "model", "endpoint", "prompt_tokens", "completion_tokens", "cost", "created_at")
    facts = {name.replace("_", " "): str(row[name]) for name in names}
    return TraceNode("teacher call", row["call_id"], row["call_id"], facts | {"answer": row["content"]})


def _document(warehouse: Warehouse, row: dict[str, Any], limit: int) -> TraceNode:
    return _document_node(row)


def _document_node(row: dict[str, Any]) -> TraceNode:
    facts = {"title": row["title"], "uri": row["uri"], "license": row["license"], "document id": row["document_id"]}
    return TraceNode("document", row["document_id"], row["source_id"], facts)


def _documents(warehouse: Warehouse, document_ids: Sequence[str], limit: int) -> list[TraceNode]:
    rows = warehouse.query(
        "SELECT * FROM lake.documents WHERE list_contains(?, document_id) ORDER BY source_id LIMIT ?",
        (list(document_ids), limit),
    )
    shown = [_document_node(row) for row in rows.iter_rows(named=True)]
    return [*shown, *_more("documents", len(set(document_ids)), len(shown))]


def _documents_under(warehouse: Warehouse, dataset_id: str, limit: int) -> TraceNode:
    rows = documents_of(warehouse, dataset_id)
    shown = [_document_node(row) for row in rows.head(limit).iter_rows(named=True)]
    children = (*shown, *_more("documents", len(rows), len(shown)))
    return TraceNode("documents", dataset_id, "", {"total": str(len(rows))}, children)


def _more(what: str, total: int, shown: int) -> tuple[TraceNode, ...]:
    return (TraceNode("more", "", f"and {total - shown} more {what}", {}),) if total > shown else ()


def _parent(warehouse: Warehouse, table: str, row: dict[str, Any], limit: int) -> tuple[TraceNode, ...]:
    column, walk = KINDS[table]
    rows = warehouse.query(f"SELECT * FROM lake.{table} WHERE {column} = ?", (row[column],))  # noqa: S608
    return tuple(walk(warehouse, parent, limit) for parent in rows.head(1).iter_rows(named=True))


def _recipe_name(recipe: str) -> str:
    try:
        parsed = json.loads(recipe)
    except json.JSONDecodeError:
        return recipe[:40]
    return str(parsed.get("name", "unnamed")) if isinstance(parsed, dict) else recipe[:40]


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
    models = warehouse.query("SELECT model_id FROM lake.models ORDER BY created_at DESC LIMIT 3")["model_id"]
    known = [*models, *(version.label for version in list_versions(warehouse)[-3:])]
    return EvoError(
        f"unknown id {identity[:80]!r}; nothing was traced; "
        + (f"try one of: {', '.join(known)}" if known else "the warehouse holds no dataset or model yet")
    )


Walk = Callable[[Warehouse, dict[str, Any], int], TraceNode]
KINDS: dict[str, tuple[str, Walk]] = {
    "models": ("model_id", _model),
    "training_runs": ("training_run_id", _run),
    "shard_sets": ("shard_set_id", _shard_set),
    "dataset_versions": ("dataset_id", _dataset),
    "episodes": ("episode_id", _episode),
    "contexts": ("context_id", _context),
    "documents": ("document_id", _document),
    "teacher_calls": ("call_id", _call),
}

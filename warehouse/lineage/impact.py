"""Impact: from a document, context, episode, teacher call or teacher model up to everything that used it.

An id comes in; a tree of `TraceNode` goes out, whose children are what was made from a node.
"""

# ruff: noqa: S608 - what is formatted into queries are constants of ours
from __future__ import annotations

from dataclasses import replace
from typing import Any

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import find_version, list_versions
from evoembedding.warehouse.lineage.trace import model_facts
from evoembedding.warehouse.lineage.tree import Facts, TraceNode
from evoembedding.warehouse.lineage.withdrawal_marks import marked
from evoembedding.warehouse.sources import Source, episodes_from, source_of


def impact(warehouse: Warehouse, identity: str) -> TraceNode:
    """The tree above an id: the dataset versions that hold episodes made from it, and what was made of those; of a
    dataset (id or label), shard set, training run or model what was made of it.

    Raises:
        EvoError: nothing has that id.
    """
    return marked(warehouse, _impact(warehouse, identity))


def _impact(warehouse: Warehouse, identity: str) -> TraceNode:
    source = source_of(warehouse, identity)
    if source is not None:
        return _from_source(warehouse, source, identity)
    by_id = (version for version in list_versions(warehouse) if version.dataset_id == identity)
    version = next(by_id, None) or find_version(warehouse, identity)
    if version is not None:
        return _dataset(warehouse, version, {"episodes": str(version.episodes)})
    # Each walk goes by any column: by its own id here, by the key of what lies below from `_dataset`.
    for column, walk in (("shard_set_id", _shard_sets), ("training_run_id", _runs), ("model_id", _models)):
        if nodes := walk(warehouse, column, identity):
            return nodes[0]
    raise EvoError(
        f"unknown id {identity[:80]!r}; nothing was looked up; give a document, context, question, episode, teacher "
        "call, teacher model, stage fingerprint, shard set, training run, model or NAME@N"
    )


def model_ids(node: TraceNode) -> list[str]:
    """The ids of all models in a tree, in order, each once."""
    own = [node.id] if node.kind == "model" else []
    return list(dict.fromkeys([*own, *(model for child in node.children for model in model_ids(child))]))


def _from_source(warehouse: Warehouse, source: Source, identity: str) -> TraceNode:
    episodes, bound = episodes_from(source), {"ids": [identity]}
    total = warehouse.query(f"SELECT count(*) FROM ({episodes})", bound).item()
    rows = warehouse.query(
        f"""SELECT v.*, held.among FROM lake.dataset_versions v JOIN
            (SELECT dataset_id, count(*) AS among FROM lake.dataset_members SEMI JOIN ({episodes}) USING (episode_id)
             GROUP BY dataset_id) held USING (dataset_id) ORDER BY v.rowid""",
        bound,
    )
    children = []
    for row in rows.iter_rows(named=True):
        among = row.pop("among")
        version = DatasetVersion(**row)
        facts = {"episodes from it": among, "episodes": version.episodes}
        children.append(_dataset(warehouse, version, facts))
    facts = {"episodes": total, "dataset versions": len(children)}
    node = TraceNode(source.kind, identity, identity, facts, tuple(children))
    return replace(node, facts={**facts, "models": len(model_ids(node))})


def _dataset(warehouse: Warehouse, version: DatasetVersion, facts: Facts) -> TraceNode:
    children = _shard_sets(warehouse, "dataset_id", version.dataset_id)
    return TraceNode("dataset", version.dataset_id, version.label, facts, children)


def _shard_sets(warehouse: Warehouse, column: str, identity: str) -> tuple[TraceNode, ...]:
    return tuple(
        TraceNode("shard set", own, own, {"rows": row["rows"]}, _runs(warehouse, "shard_set_id", own))
        for row in _rows(warehouse, "shard_sets", column, identity)
        for own in (row["shard_set_id"],)
    )


def _runs(warehouse: Warehouse, column: str, identity: str) -> tuple[TraceNode, ...]:
    return tuple(
        TraceNode(
            "training run",
            row["training_run_id"],
            row["training_run_id"],
            {"steps": row["steps"], "created": row["created_at"]},
            _models(warehouse, "training_run_id", row["training_run_id"]),
        )
        for row in _rows(warehouse, "training_runs", column, identity)
    )


def _models(warehouse: Warehouse, column: str, identity: str) -> tuple[TraceNode, ...]:
    return tuple(
        TraceNode(
            "model", row["model_id"], row["model_id"], model_facts(warehouse, row), _scores(warehouse, row["model_id"])
        )
        for row in _rows(warehouse, "models", column, identity)
    )


def _scores(warehouse: Warehouse, model_id: str) -> tuple[TraceNode, ...]:
    """The model's metrics over all questions of a benchmark, a node a system: the model, and what it was held to."""
    rows = warehouse.query(
        """SELECT benchmark, measured_on, system,
                  list(metric ORDER BY metric) AS metrics,
                  list(value ORDER BY metric) AS figures, max(questions) AS questions, min(evaluation_id) AS first
           FROM lake.evaluations WHERE model_id = ? AND question_type = 'all'
           GROUP BY benchmark, measured_on, system ORDER BY benchmark, first, system""",
        (model_id,),
    )
    return tuple(
        TraceNode(
            "scores",
            row["first"],
            f"{row['system']} on {row['benchmark']}",
            {"questions": row["questions"], "measured on": row["measured_on"][:16]}
            | dict(zip(row["metrics"], row["figures"], strict=True)),
        )
        for row in rows.iter_rows(named=True)
    )


def _rows(warehouse: Warehouse, table: str, column: str, identity: str) -> list[dict[str, Any]]:
    query = f"SELECT * FROM lake.{table} WHERE {column} = ? ORDER BY rowid"
    return warehouse.query(query, (identity,)).to_dicts()

"""What a dataset version holds: by generator its contexts and teacher calls, and its documents."""

# ruff: noqa: S608 - what is formatted into queries are constants of ours
from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EPISODES
from evoembedding.warehouse.lineage.origin_nodes import MOST, call_nodes, context_chunks, context_nodes, document_node
from evoembedding.warehouse.lineage.tree import Chunks, TraceNode, more

# The contexts of a version, and those that its memories were made from.
_UNDER = f"""WITH RECURSIVE chosen AS (SELECT e.context_id FROM {EPISODES}),
    edges AS (SELECT context_id, unnest(source_ids) AS source_id FROM lake.contexts WHERE len(source_ids) > 0),
    lower(context_id) AS (
        SELECT edges.source_id FROM edges SEMI JOIN chosen USING (context_id)
        UNION SELECT edges.source_id FROM edges JOIN lower ON edges.context_id = lower.context_id),
    under AS (FROM chosen UNION ALL FROM lower),
    used AS (SELECT DISTINCT unnest(document_ids) AS document_id FROM lake.contexts SEMI JOIN under USING (context_id)
             WHERE len(document_ids) > 0)
    SELECT document_id, source_id, title, uri, license FROM lake.documents SEMI JOIN used USING (document_id)
    ORDER BY source_id, document_id"""


def contents(warehouse: Warehouse, version: DatasetVersion, limit: int) -> tuple[TraceNode, ...]:
    """A node a generator, and one for all documents. A `limit` of 0 lists all contexts, fetched while one walks."""
    return (*_generators(warehouse, version, limit), _documents(warehouse, version.dataset_id, limit))


def documents_under(warehouse: Warehouse, dataset_id: str) -> pl.DataFrame:
    """All documents of a version (document_id, source_id, title, uri, license)."""
    return warehouse.query(_UNDER, {"dataset": dataset_id})


def _generators(warehouse: Warehouse, version: DatasetVersion, limit: int) -> list[TraceNode]:
    bound = {"dataset": version.dataset_id}
    few = min(limit or 1, MOST)
    rows = warehouse.query(
        f"""SELECT generator, sum(n)::BIGINT AS episodes, count(*) AS contexts, min(context_id, {few}) AS few
            FROM (SELECT generator, context_id, count(*) AS n FROM {EPISODES} GROUP BY ALL)
            GROUP BY generator ORDER BY generator""",
        bound,
    ).to_dicts()
    chosen = f"SELECT e.context_id, e.question_id, e.generator FROM {EPISODES}"
    calls: dict[str, list[TraceNode]] = {}
    for generator, node in call_nodes(warehouse, chosen, dict(bound)):
        calls.setdefault(generator, []).append(node)
    # One context may hold episodes of several generators: it is shown under each.
    samples = sorted({context for row in rows for context in row["few"]}) if limit else []
    shown = {node.id: node for node in context_nodes(warehouse, samples, limit, version.dataset_id)} if samples else {}
    nodes = []
    for row in rows:
        name, own = row["generator"], calls.get(row["generator"], [])
        facts = {"episodes": row["episodes"], "contexts": row["contexts"]}
        if limit:
            some = [shown[context] for context in row["few"] if context in shown]
            children = (*some, *more("contexts", row["contexts"], len(some)), *own)
            nodes.append(TraceNode("generator", name, name, facts, children))
        else:
            nodes.append(TraceNode("generator", name, name, facts, _all_contexts(warehouse, version, name, own)))
    return nodes


def _all_contexts(warehouse: Warehouse, version: DatasetVersion, generator: str, calls: list[TraceNode]) -> Chunks:
    def make() -> Iterator[TraceNode]:
        ids = warehouse.query(
            f"SELECT DISTINCT e.context_id FROM {EPISODES} WHERE e.generator = $generator ORDER BY e.context_id",
            {"dataset": version.dataset_id, "generator": generator},
        )["context_id"]
        yield from context_chunks(warehouse, ids.to_list(), version.dataset_id)
        yield from calls

    return Chunks(make)


def _documents(warehouse: Warehouse, dataset_id: str, limit: int) -> TraceNode:
    rows = documents_under(warehouse, dataset_id)
    shown = tuple(document_node(row) for row in rows.head(limit or len(rows)).iter_rows(named=True))
    children = (*shown, *more("documents", len(rows), len(shown)))
    return TraceNode("documents", dataset_id, "", {"total": len(rows)}, children)

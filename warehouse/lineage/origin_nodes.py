"""What contexts, questions and episodes were made from: nodes for many of them by one query a table.

No query here reads segments: they are what a warehouse is large of, and no key is among them.
"""

# ruff: noqa: S608 - what is formatted into queries are constants of ours
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.lineage.tree import Facts, TraceNode, more

# What a walk over all contexts of a version holds in memory, with all that is under them.
CONTEXTS_A_READ = 2000
MOST = 999_999  # that DuckDB's min(_, n) lists
_AMONG = "IN (SELECT unnest($ids::VARCHAR[]))"
# The total beside it is of all: QUALIFY cuts off after windows are counted.
_FEW = "QUALIFY $limit = 0 OR row_number() OVER (PARTITION BY context_id ORDER BY episode_id) <= $limit"
_EPISODES = f"""SELECT *, count(*) OVER (PARTITION BY context_id) AS total FROM lake.episodes
    WHERE context_id {_AMONG} AND ($dataset = '' OR episode_id IN
        (SELECT episode_id FROM lake.dataset_members WHERE dataset_id = $dataset)) {_FEW} ORDER BY episode_id"""
_CONTEXTS = f"""SELECT context_id, kind, generator, split, seed, fingerprint, document_ids, source_ids, calls
    FROM lake.contexts WHERE context_id {_AMONG} ORDER BY context_id"""
_DOCUMENTS = f"""SELECT document_id, source_id, title, uri, license FROM lake.documents
    WHERE document_id {_AMONG} ORDER BY source_id, document_id"""
_QUESTIONS = f"SELECT * FROM lake.questions WHERE question_id {_AMONG} ORDER BY question_id"
_EVIDENCE = f"SELECT * FROM lake.evidence WHERE question_id {_AMONG} ORDER BY question_id, fingerprint"
# `check_name = 'all'` sorts the last word behind the checks that led to it.
_VERDICTS = f"""SELECT * FROM lake.verdicts WHERE question_id {_AMONG}
    ORDER BY question_id, fingerprint, check_name = 'all', check_name """
# `chosen` gives context_id, question_id and generator. What a memory was made from is followed; each call counts once.
# UNION, not UNION ALL, in the recursion: it ends also where a damaged key leads in a circle.
_CALLS = """WITH RECURSIVE chosen AS MATERIALIZED ({chosen}),
    edges AS (SELECT context_id, unnest(source_ids) AS source_id FROM lake.contexts WHERE len(source_ids) > 0),
    lower(context_id, generator) AS (
        SELECT edges.source_id, chosen.generator FROM edges JOIN chosen USING (context_id)
        UNION SELECT edges.source_id, lower.generator FROM edges JOIN lower ON edges.context_id = lower.context_id),
    under AS (SELECT context_id, generator FROM chosen UNION ALL FROM lower),
    asked AS (SELECT question_id, calls FROM lake.questions WHERE len(calls) > 0
              UNION ALL SELECT question_id, calls FROM lake.evidence WHERE len(calls) > 0
              UNION ALL SELECT question_id, calls FROM lake.verdicts WHERE len(calls) > 0),
    made AS (SELECT under.generator, calls FROM under JOIN lake.contexts USING (context_id) WHERE len(calls) > 0
             UNION ALL SELECT generator, calls FROM asked JOIN chosen USING (question_id)),
    used AS (SELECT DISTINCT generator, unnest(calls) AS call_id FROM made)
    SELECT generator, model, stage, count(*) AS calls, sum(prompt_tokens + completion_tokens)::BIGINT AS tokens,
           sum(cost) AS cost, min(call_id) AS first_call, {listed} AS listed
    FROM used JOIN lake.teacher_calls USING (call_id) GROUP BY ALL ORDER BY generator, model, stage"""


def context_nodes(warehouse: Warehouse, ids: Sequence[str], limit: int, dataset_id: str = "") -> list[TraceNode]:
    """The contexts of these ids, in order of id, each with its episodes (of one version, or all), the contexts that it
    was made from, and its documents. A `limit` of 0 lists all.
    """
    bound = {"ids": list(ids), "limit": limit, "dataset": dataset_id}
    asked: dict[str, list[dict[str, Any]]] = {}
    for row in warehouse.query(_EPISODES, bound).iter_rows(named=True):
        asked.setdefault(row["context_id"], []).append(row)
    under = _by_id(episode_nodes(warehouse, [row for several in asked.values() for row in several]))
    known = _Known(warehouse, ids, limit)
    nodes = []
    for node in known.nodes(ids):
        own = asked.get(node.id, [])
        total = own[0]["total"] if own else 0
        facts = {"episodes": total, **({"segments": own[0]["segments"]} if own else {}), **node.facts}
        shown = [under[row["episode_id"]] for row in own]
        children = (*shown, *more("episodes", total, len(shown)), *node.children)
        nodes.append(TraceNode(node.kind, node.id, node.label, facts, children))
    return nodes


class _Known:
    """The rows of some contexts, of all that they were made from, and of their documents."""

    def __init__(self, warehouse: Warehouse, ids: Sequence[str], limit: int) -> None:
        self.limit = limit
        self.rows: dict[str, dict[str, Any]] = {}
        wanted = set(ids)
        while wanted:
            self.rows |= {row["context_id"]: row for row in _rows(warehouse, _CONTEXTS, sorted(wanted))}
            # NULL in rows that are older than the column (`tables.missing_columns`).
            sources = {source for row in self.rows.values() for source in row["source_ids"] or ()}
            wanted = (sources - self.rows.keys()) - wanted  # what was not found is not asked for again
        documents = {document for row in self.rows.values() for document in row["document_ids"] or ()}
        self.documents = _by_id(document_nodes(warehouse, documents))

    def nodes(self, ids: Iterable[str], above: frozenset[str] = frozenset()) -> list[TraceNode]:
        """The contexts of these ids that there are, with what is under them; `above` keeps a damaged key from turning
        in circles.
        """
        return [self._node(identity, above) for identity in sorted(set(ids) & self.rows.keys() - above)]

    def _node(self, identity: str, above: frozenset[str]) -> TraceNode:
        row = self.rows[identity]
        facts = {name: row[name] for name in ("kind", "generator", "seed", "fingerprint")} | _calls_fact(row)
        sources, documents = set(row["source_ids"] or ()), set(row["document_ids"] or ())
        under = self.nodes(self._few(sources), above | {identity})
        found = [self.documents[name] for name in self._few(documents & self.documents.keys())]
        children = (
            *under,
            *more("contexts", len(sources), len(under)),
            *sorted(found, key=lambda node: node.label),
            *more("documents", len(documents), len(found)),
        )
        return TraceNode("context", identity, identity, facts, children)

    def _few(self, ids: Iterable[str]) -> list[str]:
        return sorted(ids)[: self.limit or None]


def source_nodes(warehouse: Warehouse, ids: Sequence[str], limit: int) -> list[TraceNode]:
    """The contexts of these ids without their episodes."""
    return _Known(warehouse, ids, limit).nodes(ids)


def context_chunks(warehouse: Warehouse, ids: Sequence[str], dataset_id: str) -> Iterator[TraceNode]:
    """All about all of these contexts, some at a time."""
    for start in range(0, len(ids), CONTEXTS_A_READ):
        yield from context_nodes(warehouse, ids[start : start + CONTEXTS_A_READ], 0, dataset_id)


def episode_nodes(warehouse: Warehouse, rows: Sequence[dict[str, Any]]) -> list[TraceNode]:
    """Rows of `episodes`, each with its question."""
    questions = _by_id(question_nodes(warehouse, [row["question_id"] for row in rows]))
    nodes = []
    for row in rows:
        facts = {
            "type": row["question_type"],
            "question": row["question"],
            "answer": row["answer"],
            "evidence": row["evidence"],
            "question id": row["question_id"],
            "fingerprint": row["fingerprint"],
        }
        children = tuple(questions[q] for q in (row["question_id"],) if q in questions)
        nodes.append(TraceNode("episode", row["episode_id"], row["episode_id"], facts, children))
    return nodes


def question_nodes(warehouse: Warehouse, ids: Sequence[str]) -> list[TraceNode]:
    """The questions of these ids, each with its evidence and verdicts, by the stage's fingerprint."""
    evidence = _grouped(_rows(warehouse, _EVIDENCE, ids))
    verdicts = _grouped(_rows(warehouse, _VERDICTS, ids))
    nodes = []
    for row in _rows(warehouse, _QUESTIONS, ids):
        identity = row["question_id"]
        facts = {"type": row["question_type"], "text": row["text"], "answer": row["answer"]}
        facts |= {"reasoning": row["reasoning"]} if row["reasoning"] else {}
        facts |= {"generator": row["generator"], "fingerprint": row["fingerprint"], **_calls_fact(row)}
        children = [_evidence(one) for one in evidence.get(identity, ())]
        children += [_verdicts(identity, several) for several in _by_stage(verdicts.get(identity, ()))]
        nodes.append(TraceNode("question", identity, identity, facts, tuple(children)))
    return nodes


def document_nodes(warehouse: Warehouse, ids: Iterable[str]) -> list[TraceNode]:
    """The documents of these ids, by their names at home."""
    return [document_node(row) for row in _rows(warehouse, _DOCUMENTS, sorted(ids))]


def document_node(row: dict[str, Any]) -> TraceNode:
    """A row of `documents`; its text is not needed."""
    facts = {"title": row["title"], "uri": row["uri"], "license": row["license"], "document id": row["document_id"]}
    return TraceNode("document", row["document_id"], row["source_id"], facts)


def call_nodes(
    warehouse: Warehouse, chosen: str, bound: dict[str, object], limit: int | None = None
) -> list[tuple[str, TraceNode]]:
    """The teacher calls of some episodes by generator, model and stage; `limit` ids of each are listed (0: all).

    `chosen` is a query of context_id, question_id and generator with the parameters `bound`.
    """
    listed = "[]" if limit is None else f"min(call_id, {min(limit or MOST, MOST)})"
    found = []
    for row in warehouse.query(_CALLS.format(chosen=chosen, listed=listed), bound).iter_rows(named=True):
        calls = tuple(TraceNode("teacher call", call, call, {}) for call in row["listed"])
        facts = {name: row[name] for name in ("calls", "tokens", "cost", "model", "stage")}
        facts |= {} if calls else {"such as": row["first_call"]}
        children = (*calls, *(more("teacher calls", row["calls"], len(calls)) if calls else ()))
        label = f"{row['model']} for {row['stage']}"
        found.append((row["generator"], TraceNode("teacher calls", row["first_call"], label, facts, children)))
    return found


def _evidence(row: dict[str, Any]) -> TraceNode:
    votes = {str(index): count for index, count in zip(row["indices"], row["votes"], strict=False)}
    facts = {"votes by segment": votes, "voters": row["voters"] or 1, "generator": row["generator"]}
    facts |= {"fingerprint": row["fingerprint"], **_calls_fact(row)}
    label = f"segments {', '.join(map(str, row['indices']))}" if row["indices"] else "no segment"
    return TraceNode("evidence", row["question_id"], label, facts)


def _verdicts(question_id: str, rows: Sequence[dict[str, Any]]) -> TraceNode:
    """The checks of one question under one fingerprint."""
    facts: Facts = {}
    for row in rows:
        facts[row["check_name"]] = "passed" if row["passed"] else f"rejected, {row['reason']}"
        if row["score"] is not None:
            facts[f"{row['check_name']} score"] = row["score"]
    calls = [call for row in rows for call in row["calls"] or ()]
    facts |= {"fingerprint": rows[0]["fingerprint"], **_calls_fact({"calls": calls})}
    passed = "passed" if all(row["passed"] for row in rows) else "rejected"
    return TraceNode("verdicts", question_id, passed, facts)


def _by_stage(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    stages: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        stages.setdefault(row["fingerprint"], []).append(row)
    return list(stages.values())


def _grouped(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["question_id"], []).append(row)
    return grouped


def _calls_fact(row: dict[str, Any]) -> Facts:
    return {"calls": row["calls"]} if row["calls"] else {}


def _by_id(nodes: Iterable[TraceNode]) -> dict[str, TraceNode]:
    return {node.id: node for node in nodes}


def _rows(warehouse: Warehouse, query: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    return warehouse.query(query, {"ids": list(ids)}).to_dicts() if ids else []

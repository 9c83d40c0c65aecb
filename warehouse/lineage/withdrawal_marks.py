"""What has been withdrawn, and its marks on a tree of lineage."""

# ruff: noqa: S608 - what is formatted into queries are constants of ours
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from evoembedding.schemas.dataset import Withdrawal
from evoembedding.schemas.text import same
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.documents.sync import superseded
from evoembedding.warehouse.lineage.tree import Chunks, TraceNode
from evoembedding.warehouse.sources import WITHDRAWN_CONTEXTS, WITHDRAWN_EPISODES

MARK = "withdrawn"
_HELD = f"""SELECT dataset_id, count(*) AS episodes FROM lake.dataset_members
    SEMI JOIN ({WITHDRAWN_EPISODES}) USING (episode_id) GROUP BY dataset_id"""
_MODELS = f"""SELECT model_id, episodes FROM lake.models JOIN lake.training_runs USING (training_run_id)
    JOIN lake.shard_sets USING (shard_set_id) JOIN ({_HELD}) USING (dataset_id)"""


def withdrawals(warehouse: Warehouse) -> list[Withdrawal]:
    """All withdrawals, oldest first; none as of a time before warehouses knew them."""
    return [Withdrawal(**row) for row in warehouse.query_known("SELECT * FROM lake.withdrawals ORDER BY rowid")]


def withdrawn_ids(warehouse: Warehouse, kind: str) -> set[str]:
    """The ids of that kind that were withdrawn themselves."""
    return {one.source for one in withdrawals(warehouse) if one.kind == kind}


def withdrawn_texts(warehouse: Warehouse) -> dict[str, set[str]]:
    """The ids of withdrawn documents by the digest of their text."""
    found: dict[str, set[str]] = {}
    # Few at a time, since these are whole texts.
    for rows in warehouse.stream(
        """SELECT document_id, text FROM lake.documents
           WHERE text <> '' AND document_id IN (SELECT source FROM lake.withdrawals WHERE kind = 'document')""",
        rows=200,
    ):
        for identity, text in rows.iter_rows():
            found.setdefault(text_digest(text), set()).add(identity)
    return found


def text_digest(text: str) -> str:
    """As `withdrawn_texts` has it: the same of a text in any normal form of Unicode, with any white space."""
    return hashlib.sha256(same(text).encode()).hexdigest()


def withdrawn_contexts(warehouse: Warehouse) -> set[str]:
    """The contexts that were withdrawn or made from anything that was."""
    return set(warehouse.query(WITHDRAWN_CONTEXTS)["context_id"])


def withdrawn_versions(warehouse: Warehouse) -> dict[str, int]:
    """The dataset ids of versions that hold episodes made from anything withdrawn, and how many."""
    return dict(warehouse.query(_HELD).iter_rows())


def marked(warehouse: Warehouse, tree: TraceNode) -> TraceNode:
    """The tree with a fact more at what was withdrawn, at what was made from it, and at models that read that."""
    found, out = withdrawals(warehouse), superseded(warehouse)
    if not found and not out:
        return tree
    marks = _Marks(
        {(one.kind, one.source): one for one in found},
        withdrawn_contexts(warehouse),
        set(warehouse.query(WITHDRAWN_EPISODES)["episode_id"]),
        withdrawn_versions(warehouse) | dict(warehouse.query(_MODELS).iter_rows()),
        out,
    )
    return marks.on(tree)


@dataclass(frozen=True)
class _Marks:
    sources: dict[tuple[str, str], Withdrawal]
    contexts: set[str]
    episodes: set[str]
    counts: dict[str, int]  # of withdrawn episodes, by dataset and model id
    out: dict[str, str]  # what became of documents that no source holds any more

    def on(self, node: TraceNode) -> TraceNode:
        note = self._note(node)
        facts = {MARK: note, **node.facts} if note else node.facts
        if node.kind == "document" and node.id in self.out:
            became = self.out[node.id]
            facts = {"replaced" if " by " in became else "gone": became, **facts}
        if isinstance(node.children, Chunks):
            # Marked as one walks over them, so that a tree of everything is still never held whole.
            return replace(node, facts=facts, children=Chunks(lambda: self._all(node.children)))
        return replace(node, facts=facts, children=tuple(self._all(node.children)))

    def _all(self, nodes: tuple[TraceNode, ...] | Chunks) -> Iterator[TraceNode]:
        return (self.on(child) for child in nodes)

    def _note(self, node: TraceNode) -> str:
        own = self.sources.get((node.kind, node.id))
        if own is not None:
            return f"{own.created_at:%Y-%m-%d} by {own.withdrawn_by}" + (f": {own.reason}" if own.reason else "")
        if node.id in (self.contexts if node.kind == "context" else self.episodes if node.kind == "episode" else ()):
            return "made from a withdrawn source"
        if node.kind in ("dataset", "model") and node.id in self.counts:
            return f"{self.counts[node.id]} of its episodes"
        return ""

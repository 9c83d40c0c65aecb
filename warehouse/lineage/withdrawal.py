"""Withdrawal: a source that may be used no longer, and the dataset versions that do without it."""

# ruff: noqa: S608 - what is formatted into queries are constants of ours
from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import duckdb

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import DatasetVersion, Withdrawal
from evoembedding.schemas.episode import Record
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.moments import now
from evoembedding.warehouse.catalog import Warehouse, insert_new
from evoembedding.warehouse.datasets.expectations import pass_on
from evoembedding.warehouse.datasets.versions import add_version, list_versions
from evoembedding.warehouse.lineage.impact import impact
from evoembedding.warehouse.lineage.tree import TraceNode
from evoembedding.warehouse.sources import SOURCES, Source, episodes_from, source_of


class Successor(Record):
    """The version that follows the newest one of a name which held episodes from the source."""

    before: str
    episodes_withdrawn: int
    after: str
    dataset_id: str  # empty for what a dry run would publish
    episodes: int
    published: bool  # by this withdrawal; else it was there already


class Withdrawn(NamedTuple):
    """A withdrawal, whether it is new, what follows, and the impact of the source with the models to retrain."""

    withdrawal: Withdrawal
    new: bool
    successors: tuple[Successor, ...]
    tree: TraceNode

    @property
    def retrain(self) -> dict[str, str]:
        """Model ids and what to train them on."""
        return _retrain(self.tree)


def withdraw(
    warehouse: Warehouse, identity: str, reason: str, by: str, git_commit: str, dry_run: bool = False
) -> Withdrawn:
    """Record that a source may be used no longer, and publish what follows, all in one transaction.

    Of every dataset name whose newest version holds episodes from it, a version without them follows. What was
    withdrawn before keeps its first reason, and gives the same successors. `dry_run` stores nothing.

    Raises:
        EvoError: nothing that could be withdrawn has that id.
    """
    source = source_of(warehouse, identity)
    if source is None:
        raise EvoError(
            f"unknown id {identity[:80]!r}; nothing was withdrawn; give a {', '.join(s.kind for s in SOURCES[:-1])} or "
            f"{SOURCES[-1].kind}"
        )
    wanted = Withdrawal(source=identity, kind=source.kind, reason=reason, withdrawn_by=by, created_at=now())

    def work(con: duckdb.DuckDBPyConnection) -> tuple[Withdrawal, bool, tuple[Successor, ...]]:
        # By the transaction's own connection: nothing can come between this look and what follows from it.
        rows = warehouse.query("SELECT * FROM lake.withdrawals WHERE source = ? AND kind = ?", (identity, source.kind))
        known = [Withdrawal(**row) for row in rows.iter_rows(named=True)]
        if not known and not dry_run:
            insert_new(con, "withdrawals", to_frame(Withdrawal, [wanted]))
        after = [
            _successor(warehouse, con, version, held, source, identity, git_commit, dry_run)
            for version, held in _newest_that_hold(warehouse, source, identity)
        ]
        return known[0] if known else wanted, not known, tuple(after)

    withdrawal, new, successors = warehouse.transaction(work)
    tree = _with_successors(impact(warehouse, identity), successors)
    return Withdrawn(withdrawal, new, successors, tree)


def _newest_that_hold(warehouse: Warehouse, source: Source, identity: str) -> list[tuple[DatasetVersion, int]]:
    """Of each dataset name the newest version with episodes from the source, and how many, by name."""
    rows = warehouse.query(
        f"""SELECT v.*, held.among FROM lake.dataset_versions v JOIN
            (SELECT dataset_id, count(*) AS among FROM lake.dataset_members
             SEMI JOIN ({episodes_from(source)}) USING (episode_id) GROUP BY dataset_id) held USING (dataset_id)
            QUALIFY row_number() OVER (PARTITION BY v.name ORDER BY v.number DESC) = 1 ORDER BY v.name""",
        {"ids": [identity]},
    )
    return [(DatasetVersion(**row), among) for row in rows.to_dicts() for among in (row.pop("among"),)]


def _successor(
    warehouse: Warehouse,
    con: duckdb.DuckDBPyConnection,
    before: DatasetVersion,
    held: int,
    source: Source,
    identity: str,
    git_commit: str,
    dry_run: bool,
) -> Successor:
    """The version after the last one that holds any: it is there already, or is published now."""
    later = [v for v in list_versions(warehouse) if v.name == before.name and v.number > before.number]
    both = {"before": before.label, "episodes_withdrawn": held}
    if later:
        # `before` is the newest that holds any of it, so those after it do without; the first of them follows.
        after = min(later, key=lambda version: version.number)
    elif dry_run:
        label, left = f"{before.name}@{before.number + 1}", before.episodes - held
        return Successor(**both, after=label, dataset_id="", episodes=left, published=False)
    else:
        kept = f"""SELECT m.episode_id FROM lake.dataset_members m
                   ANTI JOIN ({episodes_from(source)}) gone USING (episode_id) WHERE m.dataset_id = $dataset"""
        after = add_version(
            con,
            before.name,
            kept,
            {"ids": [identity], "dataset": before.dataset_id},
            recipe=before.recipe,
            git_commit=git_commit,
            curation=before.curation,
            # An older version of the same episodes would be no successor.
            newer_than=before.number,
        )
        pass_on(warehouse, con, before, after)
    return Successor(
        **both, after=after.label, dataset_id=after.dataset_id, episodes=after.episodes, published=not later
    )


def _with_successors(node: TraceNode, successors: tuple[Successor, ...], after: str = "") -> TraceNode:
    """The impact with a fact more at datasets, what follows, and at models, what to train them on again."""
    facts = node.facts
    if node.kind == "dataset":
        name = node.label.partition("@")[0]
        for one in successors:
            if one.before.partition("@")[0] == name:
                after = one.after
                follows = {"successor": after, "successor's episodes": one.episodes} if one.before == node.label else {}
                facts = {**facts, **follows}
    elif node.kind == "model" and after:
        facts = {"retrain on": after, **facts}
    return replace(node, facts=facts, children=tuple(_with_successors(c, successors, after) for c in node.children))


def _retrain(node: TraceNode) -> dict[str, str]:
    own = {node.id: node.facts["retrain on"]} if "retrain on" in node.facts else {}
    for child in node.children:
        own |= _retrain(child)
    return own

"""Questions of the user's own: what a version holds out of documents, and what its models are asked.

A version and the models that are to be asked come in; conversations with queries go out, which none of them saw.
"""

# ruff: noqa: S608 - what is formatted into queries are constants of ours
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from evoembedding.schemas.benchmark import OWN, BenchmarkData, Conversation, Query
from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Segment
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import MATCHING, EpisodeFilter, bound
from evoembedding.warehouse.sources import UNUSABLE_EPISODES

HELD_OUT = "held_out"  # the check whose verdicts name the episodes

_OWN = f"""WITH held AS (
    SELECT context_id, question_id, question, evidence, question_type FROM lake.episodes
    WHERE episode_id IN (SELECT episode_id FROM lake.verdicts WHERE check_name = $check AND fingerprint = $curation)
    AND episode_id NOT IN ({UNUSABLE_EPISODES})),
seen AS (
    SELECT DISTINCT e.context_id FROM lake.episodes e JOIN lake.dataset_members m USING (episode_id)
    JOIN lake.model_versions v USING (dataset_id) WHERE list_contains($models::VARCHAR[], v.model_id)),
shown AS (SELECT context_id, unnest(document_ids) AS document_id FROM lake.contexts SEMI JOIN held USING (context_id)),
named AS (
    SELECT context_id, list(DISTINCT name ORDER BY name) AS slices FROM (
        SELECT context_id, 'licence:' || license AS name FROM shown JOIN lake.documents USING (document_id)
        UNION ALL
        SELECT context_id, 'source:' || source FROM shown JOIN lake.document_sources USING (document_id))
    GROUP BY context_id)
SELECT held.*, c.segments, n.slices, held.context_id IN (SELECT context_id FROM seen) AS seen
FROM held JOIN lake.contexts c USING (context_id) JOIN named n USING (context_id)
ORDER BY context_id, question_id"""
_SOURCES = f"""SELECT context_id, list(DISTINCT d.source_id) AS sources
    FROM (SELECT context_id, unnest(document_ids) AS document_id FROM lake.contexts
          SEMI JOIN (SELECT context_id {MATCHING}) USING (context_id)) JOIN lake.documents d USING (document_id)
    GROUP BY context_id"""


def matching_sources(warehouse: Warehouse, where: EpisodeFilter) -> Iterator[pl.DataFrame]:
    """The names of the sources of documents of matching episodes' contexts: columns context_id and sources."""
    return warehouse.stream(_SOURCES, bound(where))


def own_questions(warehouse: Warehouse, version: DatasetVersion, models: Sequence[str] = ()) -> BenchmarkData:
    """What a version holds out, but for what any of the models was trained on, which is counted as left out.

    A model may have been trained on it by an older version, which held out a smaller share of the sources.
    """
    asked = {"check": HELD_OUT, "curation": version.curation, "models": list(models)}
    of_context: dict[str, list[dict[str, Any]]] = {}
    left_out = 0
    for row in warehouse.query(_OWN, asked).iter_rows(named=True):
        if row["seen"]:
            left_out += 1
            continue
        of_context.setdefault(row["context_id"], []).append(row)
    return BenchmarkData(
        name=f"{OWN}:{version.label}",
        conversations=tuple(_conversation(rows) for rows in of_context.values()),
        left_out=left_out,
    )


def _conversation(rows: Sequence[dict[str, Any]]) -> Conversation:
    """The rows of one context."""
    return Conversation(
        conversation_id=rows[0]["context_id"],
        segments=tuple(Segment(**one) for one in rows[0]["segments"]),
        queries=tuple(
            Query(text=row["question"], gold=row["evidence"], question_type=row["question_type"]) for row in rows
        ),
        slices=tuple(rows[0]["slices"]),
    )

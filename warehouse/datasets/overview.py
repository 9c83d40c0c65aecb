"""What a report tells of a dataset version beside its statistics: its funnel, samples, sources, and its models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Episode, Segment
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EPISODES

REASONS = 5  # told by generator and check: a reason that holds a name may occur once each

# The outcome of a question is the first of: it is in the version, curation left it out, it is an episode all the same
# (made since, or accepted by other thresholds), a check rejected it (the first by name, as in
# `warehouse.datasets.funnel`).
_FUNNEL = f"""
WITH members AS (
    SELECT e.question_id, e.generator, e.split FROM {EPISODES}
), stages AS (
    SELECT DISTINCT fingerprint FROM lake.questions SEMI JOIN members USING (question_id)
), drafted AS (
    SELECT question_id, generator FROM lake.questions SEMI JOIN stages USING (fingerprint)
    SEMI JOIN (SELECT context_id FROM lake.contexts WHERE split IN (SELECT split FROM members)) USING (context_id)
    UNION SELECT question_id, generator FROM members
), kept AS (
    SELECT DISTINCT question_id FROM lake.episodes
), curated AS (
    SELECT question_id, min(check_name) AS check_name FROM lake.verdicts
    WHERE NOT passed AND fingerprint = $curation AND fingerprint <> '' GROUP BY question_id
), failed AS (
    SELECT question_id, min({{'check_name': check_name, 'reason': reason}}) AS why
    FROM lake.verdicts SEMI JOIN drafted USING (question_id) ANTI JOIN kept USING (question_id)
    WHERE NOT passed AND check_name <> 'all' GROUP BY question_id
), fates AS (
    SELECT d.generator, CASE WHEN m.question_id IS NOT NULL THEN 'published'
        WHEN c.question_id IS NOT NULL THEN 'left out' WHEN k.question_id IS NOT NULL THEN 'not in this version'
        ELSE 'rejected' END AS outcome,
        CASE outcome WHEN 'left out' THEN c.check_name WHEN 'rejected' THEN coalesce(f.why.check_name, 'no verdict')
        ELSE '' END AS check_name,
        CASE outcome WHEN 'rejected' THEN regexp_replace(coalesce(f.why.reason, ''), '[0-9]+', 'n', 'g')
        ELSE '' END AS reason
    FROM drafted d LEFT JOIN (SELECT DISTINCT question_id FROM members) m USING (question_id)
    LEFT JOIN curated c USING (question_id) LEFT JOIN kept k USING (question_id) LEFT JOIN failed f USING (question_id)
), counted AS (
    SELECT generator, outcome, check_name, reason, count(*) AS questions,
           row_number() OVER (PARTITION BY generator, outcome, check_name ORDER BY count(*) DESC, reason) AS place
    FROM fates GROUP BY generator, outcome, check_name, reason
)
SELECT generator, outcome, check_name, CASE WHEN place <= {REASONS} THEN reason ELSE 'other reasons' END AS reason,
       sum(questions)::BIGINT AS questions
FROM counted GROUP BY ALL ORDER BY generator, outcome, questions DESC, check_name, reason
"""  # noqa: S608


class Sample(NamedTuple):
    """An episode with the segments of its context, and their kind."""

    episode: Episode
    kind: str
    segments: tuple[Segment, ...]


def version_funnel(warehouse: Warehouse, version: DatasetVersion) -> pl.DataFrame:
    """What became of every question drafted by the stages that a version's episodes came from.

    Columns generator, outcome ('published', 'left out', 'not in this version', 'rejected'), check_name, reason,
    questions: their sum is what was drafted. Numbers in reasons read 'n', so that like ones are counted together.
    Held-out questions are no part of it, unless the version holds such.
    """
    return warehouse.query(_FUNNEL, {"dataset": version.dataset_id, "curation": version.curation})


def samples(warehouse: Warehouse, version: DatasetVersion, most: int) -> list[Sample]:
    """At most `most` episodes of a version, spread over its generators and their types; always the same ones."""
    firsts = warehouse.query(
        f"""SELECT e.generator, min(e.episode_id) AS episode_id FROM {EPISODES}
            GROUP BY e.generator, e.question_type ORDER BY e.generator, e.question_type""",  # noqa: S608
        {"dataset": version.dataset_id},
    )
    by_generator: dict[str, list[str]] = {}
    for generator, episode_id in firsts.iter_rows():
        by_generator.setdefault(generator, []).append(episode_id)
    chosen = _spread(list(by_generator.values()), most)
    episodes = {row["episode_id"]: Episode(**row) for row in _with(warehouse, "episodes", "episode_id", chosen)}
    held = [episode.context_id for episode in episodes.values()]
    contexts = {row["context_id"]: row for row in _with(warehouse, "contexts", "context_id", held)}
    return [_sample(episodes[identity], contexts[episodes[identity].context_id]) for identity in chosen]


def documents_by_generator(warehouse: Warehouse, version: DatasetVersion) -> dict[str, int]:
    """How many documents the contexts of each generator's episodes were made from; generators without any left out."""
    rows = warehouse.query(
        f"""WITH used AS (SELECT DISTINCT e.generator, e.context_id FROM {EPISODES})
            SELECT generator, count(DISTINCT document_id) FROM
                (SELECT u.generator, unnest(c.document_ids) AS document_id
                 FROM lake.contexts c JOIN used u USING (context_id))
            GROUP BY generator ORDER BY generator""",  # noqa: S608
        {"dataset": version.dataset_id},
    )
    return dict(rows.iter_rows())


def models_of(warehouse: Warehouse, dataset_id: str) -> list[dict[str, Any]]:
    """The models trained on a version, oldest first: model_id, training_run_id, steps, final_loss, seconds, created_at,
    and their overall `scores` (benchmark, measured_on, system, metric, value, low, high, questions).
    """
    models = warehouse.query(
        """SELECT m.model_id, m.created_at, r.training_run_id, r.steps, r.final_loss, r.seconds, r.config
           FROM lake.models m JOIN lake.training_runs r USING (training_run_id)
           JOIN lake.shard_sets s USING (shard_set_id) WHERE s.dataset_id = ? ORDER BY m.rowid""",
        (dataset_id,),
    ).to_dicts()
    of: dict[str, list[dict[str, Any]]] = {}
    for row in scores(warehouse, [model["model_id"] for model in models], "all"):
        of.setdefault(row["model_id"], []).append(row)
    return [{**model, "scores": of.get(model["model_id"], [])} for model in models]


def scores(warehouse: Warehouse, model_ids: Sequence[str], question_type: str = "") -> list[dict[str, Any]]:
    """The evaluation rows of models and their baselines, of one question type or of all: of a benchmark whose content
    changed, what was measured last comes first.
    """
    return warehouse.query(
        """SELECT model_id, benchmark, measured_on, left_out, system, question_type, metric, value, low, high, questions
           FROM lake.evaluations
           WHERE list_contains($1::VARCHAR[], model_id) AND ($2 = '' OR question_type = $2)
           ORDER BY model_id, benchmark, max(snapshot_id) OVER (PARTITION BY model_id, benchmark, measured_on) DESC,
                    measured_on, system, question_type, metric""",
        (list(model_ids), question_type),
    ).to_dicts()


def _spread(lists: list[list[str]], most: int) -> list[str]:
    """Of each list about as many, taken evenly over its length; each list's stay together."""
    chosen: list[list[str]] = []
    left = most
    for number, items in sorted(enumerate(lists), key=lambda pair: (len(pair[1]), pair[0])):
        take = min(len(items), max(1, left // (len(lists) - len(chosen)))) if left else 0
        left -= take
        chosen.append([str(number), *(items[i * len(items) // take] for i in range(take))])
    return [identity for group in sorted(chosen, key=lambda g: int(g[0])) for identity in group[1:]]


def _with(warehouse: Warehouse, table: str, column: str, few: list[str]) -> list[dict[str, Any]]:
    # Plain values: DuckDB then skips what cannot hold them, and reads the long columns of the found rows alone.
    places = ", ".join("?" * len(few)) or "NULL"
    return warehouse.query(f"SELECT * FROM lake.{table} WHERE {column} IN ({places})", few).to_dicts()  # noqa: S608


def _sample(episode: Episode, context: dict[str, Any]) -> Sample:
    return Sample(episode, context["kind"], tuple(Segment(**text) for text in context["segments"]))

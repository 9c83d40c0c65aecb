"""Views for the common joins, by name: what each row is, and its query.

The queries name tables plainly, without the catalog, so that they work under whatever name the lake is attached.
"""

from __future__ import annotations

from typing import NamedTuple


class View(NamedTuple):
    """A comment and a query; views come after those that they read."""

    comment: str
    query: str


VIEWS: dict[str, View] = {
    "version_episodes": View(
        "An episode of a dataset version, with what it asks and where it came from.",
        """SELECT v.name || '@' || v.number AS label, m.dataset_id, e.* EXCLUDE (row_digest)
           FROM dataset_members m JOIN dataset_versions v USING (dataset_id) JOIN episodes e USING (episode_id)""",
    ),
    "context_sources": View(
        "A context, and one that it rests on: itself, and, for a memory, all that it was extracted from.",
        """WITH RECURSIVE edges AS (SELECT context_id, unnest(source_ids) AS source_id FROM contexts),
               under(context_id, rests_on) AS (
                   SELECT context_id, context_id FROM contexts
                   UNION SELECT under.context_id, edges.source_id FROM under JOIN edges
                         ON edges.context_id = under.rests_on)
           SELECT context_id, rests_on FROM under""",
    ),
    "context_documents": View(
        "A document that a context rests on.",
        """SELECT DISTINCT s.context_id, d.document_id FROM context_sources s
           JOIN (SELECT context_id, unnest(document_ids) AS document_id FROM contexts) d
             ON d.context_id = s.rests_on""",
    ),
    "version_documents": View(
        "A document under a dataset version, with its licence and how many of the version's episodes rest on it.",
        """SELECT e.label, e.dataset_id, d.document_id, d.source_id, d.title, d.uri, d.license,
                  count(DISTINCT e.episode_id) AS episodes
           FROM version_episodes e JOIN context_documents c USING (context_id) JOIN documents d USING (document_id)
           GROUP BY ALL""",
    ),
    "model_versions": View(
        "A model with its run, shard set and dataset version: the way down from weights to data.",
        """SELECT m.model_id, m.digest AS weights_digest, m.created_at, r.training_run_id, r.config, r.steps,
                  r.final_loss, r.seconds, s.shard_set_id, s.tokenizer_digest, v.dataset_id,
                  v.name || '@' || v.number AS label, v.digest AS dataset_digest, v.recipe, v.git_commit
           FROM models m JOIN training_runs r USING (training_run_id) JOIN shard_sets s USING (shard_set_id)
           JOIN dataset_versions v USING (dataset_id)""",
    ),
    "model_documents": View(
        "A document that a model has seen: every document of the version that it was trained on.",
        """SELECT m.model_id, m.label, d.document_id, d.source_id, d.title, d.uri, d.license, d.episodes
           FROM model_versions m JOIN version_documents d USING (dataset_id)""",
    ),
    "question_calls": View(
        "A teacher call that a question rests on: for its context, itself, its evidence or its checks.",
        """SELECT q.question_id, c.call_id, 'contexts' AS stage
           FROM questions q JOIN context_sources s USING (context_id)
           JOIN (SELECT context_id, unnest(calls) AS call_id FROM contexts) c ON c.context_id = s.rests_on
           UNION SELECT question_id, unnest(calls), 'questions' FROM questions
           UNION SELECT question_id, unnest(calls), 'evidence' FROM evidence
           UNION SELECT question_id, unnest(calls), 'verify' FROM verdicts""",
    ),
    "scores": View(
        "A score with the model's dataset version.",
        """SELECT e.* EXCLUDE (row_digest), m.label, m.dataset_id
           FROM evaluations e JOIN model_versions m USING (model_id)""",
    ),
}

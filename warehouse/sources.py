"""What an id may be that something was made from, and the SQL of all that was made from it."""

# ruff: noqa: S608 - what is formatted into queries are constants of ours
from __future__ import annotations

from typing import NamedTuple

from evoembedding.warehouse.catalog import Warehouse

_NOTHING = "SELECT NULL::VARCHAR WHERE false"


class Source(NamedTuple):
    """A kind of source: the table and column of its ids, and what was made of `{ids}` directly, a query each.

    What is made of those in turn follows from the keys: memories of contexts, episodes of contexts and questions.
    """

    kind: str
    table: str
    column: str
    contexts: str = ""
    questions: str = ""
    episodes: str = ""
    calls: str = ""


SOURCES: tuple[Source, ...] = (
    Source(
        "document",
        "documents",
        "document_id",
        contexts="""SELECT context_id FROM (SELECT context_id, unnest(document_ids) AS id FROM lake.contexts)
                    SEMI JOIN ({ids}) USING (id)""",
    ),
    Source("context", "contexts", "context_id", contexts="SELECT id FROM ({ids})"),
    Source("question", "questions", "question_id", questions="SELECT id FROM ({ids})"),
    Source("episode", "episodes", "episode_id", episodes="SELECT id FROM ({ids})"),
    Source("teacher call", "teacher_calls", "call_id", calls="SELECT id FROM ({ids})"),
    Source(
        "teacher model",
        "teacher_calls",
        "model",
        calls="SELECT call_id FROM lake.teacher_calls SEMI JOIN ({ids}) ON model = id",
    ),
    # The last stage's fingerprint is the episodes'; the earlier ones are in the chain of those that it stands on.
    Source(
        "stage fingerprint",
        "fingerprints",
        "fingerprint",
        contexts="SELECT context_id FROM lake.contexts SEMI JOIN ({ids}) ON fingerprint = id",
        episodes="""WITH RECURSIVE later(id) AS ({ids} UNION SELECT f.fingerprint FROM lake.fingerprints f
                        JOIN later ON f.before = later.id)
                    SELECT episode_id FROM lake.episodes SEMI JOIN later ON fingerprint = later.id""",
    ),
)
# Where an id could be of two kinds, the first of `SOURCES` is meant.
_LOOK_UP = "SELECT n FROM ({}) ORDER BY n".format(
    " UNION ALL ".join(
        f"(SELECT {n} AS n FROM lake.{source.table} WHERE {source.column} = $id LIMIT 1)"
        for n, source in enumerate(SOURCES)
    )
)
_GIVEN = "SELECT unnest($ids::VARCHAR[]) AS id"
_MADE = """WITH RECURSIVE
    called(call_id) AS ({calls}),
    edges AS (SELECT context_id, unnest(source_ids) AS source_id FROM lake.contexts),
    used(context_id) AS (
        {contexts}
        UNION SELECT edges.context_id FROM edges JOIN used ON edges.source_id = used.context_id),
    asked(question_id) AS ({questions})"""
_CALLED_CONTEXTS = """SELECT context_id FROM (SELECT context_id, unnest(calls) AS call_id FROM lake.contexts)
        SEMI JOIN called USING (call_id)"""
_CALLED_QUESTIONS = """SELECT question_id FROM (
            SELECT question_id, unnest(calls) AS call_id FROM lake.questions
            UNION ALL SELECT question_id, unnest(calls) FROM lake.evidence
            UNION ALL SELECT question_id, unnest(calls) FROM lake.verdicts) SEMI JOIN called USING (call_id)"""
_EPISODES = """SELECT episode_id FROM lake.episodes SEMI JOIN used USING (context_id)
    UNION SELECT episode_id FROM lake.episodes SEMI JOIN asked USING (question_id)"""


def episodes_from(source: Source) -> str:
    """The query of the episodes made from the ids in `$ids`; column `episode_id`, each once."""
    return _made([(source, _GIVEN)]) + _of_episodes([(source, _GIVEN)])


def source_of(warehouse: Warehouse, identity: str) -> Source | None:
    """What kind of source has that id; None when none has."""
    found = warehouse.query(_LOOK_UP, {"id": identity})["n"]
    return SOURCES[found[0]] if len(found) else None


def _withdrawn() -> list[tuple[Source, str]]:
    return [(s, f"SELECT source AS id FROM lake.withdrawals WHERE kind = '{s.kind}'") for s in SOURCES]


def _made(parts: list[tuple[Source, str]]) -> str:
    """The common tables `used` and `asked`: all contexts and questions made of the parts' ids."""
    calls, contexts, questions = (
        [getattr(source, name).format(ids=ids) for source, ids in parts if getattr(source, name)]
        for name in ("calls", "contexts", "questions")
    )
    if calls:
        contexts, questions = [*contexts, _CALLED_CONTEXTS], [*questions, _CALLED_QUESTIONS]
    texts = {"calls": calls, "contexts": contexts, "questions": questions}
    return _MADE.format(**{name: " UNION ".join(queries or [_NOTHING]) for name, queries in texts.items()})


def _of_episodes(parts: list[tuple[Source, str]]) -> str:
    direct = [f" UNION ({source.episodes.format(ids=ids)})" for source, ids in parts if source.episodes]
    return f" {_EPISODES}" + "".join(direct)


# Documents that are present in no source any more: each was replaced there, or is gone. Column `id`.
SUPERSEDED = """SELECT document_id AS id FROM (
        SELECT document_id, arg_max(state, sequence) AS state FROM lake.document_sources
        GROUP BY source, file, source_id, document_id)
    GROUP BY document_id HAVING count(*) FILTER (state = 'present') = 0"""
_UNUSABLE = [*_withdrawn(), (SOURCES[0], SUPERSEDED)]
# What was made from anything that may be used in new versions no longer: column episode_id.
UNUSABLE_EPISODES = _made(_UNUSABLE) + _of_episodes(_UNUSABLE)
SUPERSEDED_EPISODES = _made(_UNUSABLE[-1:]) + _of_episodes(_UNUSABLE[-1:])
# What was made from anything withdrawn, whenever it was made: columns context_id, and episode_id.
WITHDRAWN_CONTEXTS = _made(_withdrawn()) + " SELECT context_id FROM used"
WITHDRAWN_EPISODES = _made(_withdrawn()) + _of_episodes(_withdrawn())

"""Score an encoder on conversations: a row a query, then means by question type with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from evoembedding.evaluation.metrics import METRICS, bootstrap
from evoembedding.retrieval.ranking import rank
from evoembedding.schemas.benchmark import Conversation, Encoder, Query

ALL = "all"
ASKED: dict[str, pl.DataType] = {
    "conversation_id": pl.String(),
    "segments": pl.Int64(),
    "question_type": pl.String(),
    "slices": pl.List(pl.String()),
}
TIES = 0  # the seed of the order in which equal scores fall


def score(encoder: Encoder, conversations: Sequence[Conversation]) -> pl.DataFrame:
    """A row a query: `asked`, and every metric in 0..1."""
    rows = []
    for conversation in conversations:
        # Nothing is asked of it, and reading it is what takes the time.
        if not conversation.queries:
            continue
        scores = encoder.score(conversation.segments, [query.text for query in conversation.queries])
        for query, of_query in zip(conversation.queries, scores, strict=True):
            # Ties by chance: a system that scores all alike would else be as good as the segments' order.
            ranked = rank(of_query, seed=TIES)
            values = {name: metric(ranked, query.gold) for name, metric in METRICS.items()}
            rows.append(asked(conversation, query) | values)
    return pl.DataFrame(rows, schema={**ASKED, **dict.fromkeys(METRICS, pl.Float64())})


def asked(conversation: Conversation, query: Query) -> dict[str, object]:
    """What slices go by: conversation_id, segments (how many), question_type, and the conversation's own slices."""
    told = (conversation.conversation_id, len(conversation.segments), query.question_type, list(conversation.slices))
    return dict(zip(ASKED, told, strict=True))


def summarise(frame: pl.DataFrame, system: str, groups: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Means: system, question_type (`all`, each group, each type), metric, value, low and high (95 %), questions."""
    types = frame["question_type"].unique().sort().to_list()
    wanted = {ALL: types, **{name: list(members) for name, members in groups.items()}, **{t: [t] for t in types}}
    rows = []
    for name, members in wanted.items():
        part = frame.filter(pl.col("question_type").is_in(members))
        # A benchmark need not have questions of every group: LoCoMo has none on states.
        for metric in METRICS if len(part) else ():
            low, high = bootstrap(part[metric].to_list(), part["conversation_id"].to_list())
            rows.append(
                {
                    "system": system,
                    "question_type": name,
                    "metric": metric,
                    "value": part[metric].mean(),
                    "low": low,
                    "high": high,
                    "questions": len(part),
                }
            )
    return pl.DataFrame(
        rows,
        schema={
            "system": pl.String(),
            "question_type": pl.String(),
            "metric": pl.String(),
            "value": pl.Float64(),
            "low": pl.Float64(),
            "high": pl.Float64(),
            "questions": pl.Int64(),
        },
    )

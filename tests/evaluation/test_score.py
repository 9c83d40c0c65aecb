"""Encoders scored on made-up conversations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from evoembedding.evaluation.baselines import BASELINES, baselines
from evoembedding.evaluation.benchmarks.heldout import from_drafts
from evoembedding.evaluation.report import markdown_table, score_table
from evoembedding.evaluation.score import score, summarise
from evoembedding.schemas.benchmark import Conversation, Query
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.episode import Segment
from evoembedding.synth.simulator import simulate

TEXTS = ("I moved to Lisbon.", "The cat sleeps all day.", "I am running marathons now.", "Tea is ready.")
CONVERSATION = Conversation(
    conversation_id="c",
    segments=tuple(Segment(user=text) for text in TEXTS),
    queries=(
        Query(text="Who runs a marathon?", gold=(2,), question_type="sport"),
        Query(text="Is the tea ready?", gold=(3,), question_type="home"),
        Query(text="Did I move to Lisbon?", gold=(0, 1), question_type="home"),
    ),
)


class Fixed:
    """Always the same order: segment 2 first."""

    name = "fixed"

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        return np.tile(np.array([1, 2, 4, 3], dtype=np.float32), (len(queries), 1))


def value(frame: pl.DataFrame, kind: str, metric: str) -> float:
    return float(frame.filter((pl.col("question_type") == kind) & (pl.col("metric") == metric))["value"].item())


def test_means_by_type_and_group() -> None:
    rows = summarise(score(Fixed(), [CONVERSATION]), "fixed", {"both": ("sport", "home"), "absent": ("none",)})
    assert value(rows, "sport", "Recall@1") == 1
    assert value(rows, "home", "Recall@1") == 0
    assert value(rows, "home", "Recall@10") == 1
    assert value(rows, "both", "Recall@1") == pytest.approx(1 / 3)
    assert value(rows, "all", "MRR") == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert "absent" not in set(rows["question_type"])
    assert rows.filter(pl.col("question_type") == "home")["questions"].unique().to_list() == [2]


def test_every_baseline_scores_every_segment() -> None:
    found = {encoder.name: encoder for encoder in baselines()}
    assert list(found) == [name for name, entry in BASELINES.items() if entry.here]
    assert {"BM25 with stemming", "recency", "random"} <= set(found)
    for encoder in found.values():
        scores = encoder.score(CONVERSATION.segments, [query.text for query in CONVERSATION.queries])
        assert scores.shape == (3, 4)
        assert scores.dtype == np.float32
        assert np.array_equal(scores, encoder.score(CONVERSATION.segments, [q.text for q in CONVERSATION.queries]))


def test_lexical_and_static_baselines_find_what_sounds_alike() -> None:
    for encoder in baselines():
        rows = score(encoder, [CONVERSATION])
        if encoder.name == "BM25 with stemming":  # "runs" and "running" share a stem
            assert rows["Recall@1"].to_list() == [1, 1, 0.5]
        if encoder.name == "all-MiniLM-L6-v2":
            assert rows["Recall@1"].to_list()[:2] == [1, 1]
        if encoder.name == "recency":
            assert rows["Recall@1"].to_list() == [0, 1, 0]


def test_a_baseline_without_its_package_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BASELINES, "x", BASELINES["recency"]._replace(name="x", package="no_such_package_of_this_test"))
    assert len(baselines()) == sum(entry.here for entry in BASELINES.values()) < len(BASELINES)


def test_bm25_takes_queries_and_segments_of_stop_words_only() -> None:
    bm25 = baselines()[0]
    assert bm25.score([Segment(user="the"), Segment(user="a cat")], ["the", "cat"]).shape == (2, 2)


def test_drafts_become_conversations() -> None:
    drafts = list(simulate(SimulatorConfig(contexts=2)))
    made = from_drafts(drafts)
    assert [c.conversation_id for c in made] == [d.context.context_id for d in drafts]
    assert [q.gold for q in made[0].queries] == [e.indices for e in drafts[0].evidence]


def test_tables_show_every_system_best_first() -> None:
    conversations = from_drafts(simulate(SimulatorConfig(contexts=3)))
    systems = [encoder for encoder in baselines() if encoder.name in ("recency", "random")]
    rows = pl.concat([summarise(score(s, conversations), s.name, {"state": ("latest", "first")}) for s in systems])
    table, markdown = score_table(rows, ["state", "latest"]), markdown_table(rows, ["state", "latest"])
    text = "\n".join([*table.columns, *(cell for row in table.rows for cell in row)])
    for part in ("recency", "random", "Recall@10", "nDCG@10", "state", "latest"):
        assert part in text
        assert part in markdown
    best = rows.filter((pl.col("question_type") == "state") & (pl.col("metric") == "Recall@1")).sort("value")
    worst = best["system"][0]
    assert markdown.splitlines()[-1].startswith(f"| {worst}")


def test_a_type_without_questions_takes_no_system_from_the_tables() -> None:
    conversations = from_drafts(simulate(SimulatorConfig(contexts=3)))
    systems = [encoder for encoder in baselines() if encoder.name in ("recency", "random")]
    rows = pl.concat([summarise(score(s, conversations), s.name, {}) for s in systems])
    assert len(score_table(rows, ["state"]).rows) == 2
    assert markdown_table(rows, ["state"]) == markdown_table(rows, [])

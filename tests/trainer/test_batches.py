"""Batches and how they are dealt."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainer.batches import Schedule, collate, cut

lengths = st.lists(st.integers(1, 100), min_size=1, max_size=60).map(sorted)


@given(lengths, st.integers(1, 8), st.integers(1, 400))
def test_cut_keeps_every_row_in_order_within_the_limits(tokens: list[int], rows: int, budget: int) -> None:
    batches = cut(tokens, rows, budget)
    assert [row for batch in batches for row in batch] == list(range(len(tokens)))
    for batch in batches:
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * max(tokens[row] for row in batch) <= budget


@given(lengths, st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_every_epoch_reads_every_row_on_equal_ranks(tokens: list[int], rows: int, ranks: int, seed: int) -> None:
    schedule = Schedule(tokens, rows, 300, ranks, seed)
    for epoch in range(2):
        steps = range(epoch * schedule.steps_per_epoch, (epoch + 1) * schedule.steps_per_epoch)
        read = Counter(row for step in steps for rank in range(ranks) for row in schedule.rows(step, rank))
        assert set(read) == set(range(len(tokens)))
        batches = len(cut(tokens, rows, 300))
        assert sum(read.values()) == len(tokens) or batches % ranks  # only the last step's fill reads twice


@given(lengths, st.integers(1, 3), st.integers(0, 500))
def test_a_step_is_the_same_whenever_it_is_asked_for(tokens: list[int], ranks: int, step: int) -> None:
    one, other = (Schedule(tokens, 4, 300, ranks, seed=3) for _ in range(2))
    [other.rows(earlier, 0) for earlier in range(min(step, 20))]
    assert one.rows(step, ranks - 1) == other.rows(step, ranks - 1)


def test_collate_keeps_tokens_and_evidence(rows: list[dict[str, Any]]) -> None:
    batch = collate(rows[:3])
    for b, row in enumerate(rows[:3]):
        assert batch.totals[b] == row["segments"] == batch.present[b].sum()
        for t, tokens in enumerate(row["memory_tokens"]):
            assert batch.memory.ids[b, t, : batch.memory.lengths[b, t]].tolist() == list(tokens)
        for g, question in enumerate(row["questions"]):
            assert batch.evidence[b, g].nonzero().flatten().tolist() == sorted(question["evidence"])
            start, end = int(batch.answer_starts[b, g]), int(batch.answers.lengths[b, g])
            assert batch.answers.ids[b, g, start:end].tolist() == list(question["answer_tokens"])
        assert batch.asked[b].sum() == len(row["questions"])
    assert batch.tokens == sum(row["tokens"] for row in rows[:3])

"""Batches and how they are dealt."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evoembedding.schemas.configs import TrainConfig
from evoembedding.trainer.model.batches import Schedule, collate, dealt
from evoembedding.trainer.model.packing import cut
from evoembedding.trainer.training.rows import Rows

lengths = st.lists(st.integers(1, 100), min_size=1, max_size=60).map(sorted)


@given(lengths, st.integers(1, 8), st.integers(1, 400))
def test_cut_keeps_every_row_in_order_within_the_limits(tokens: list[int], rows: int, budget: int) -> None:
    batches = cut(tokens, rows, budget)
    assert [row for batch in batches for row in batch] == list(range(len(tokens)))
    for batch in batches:
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * max(tokens[row] for row in batch) <= budget


def of(rows: int, a_step: int, seed: int) -> TrainConfig:
    return TrainConfig(batch_episodes=rows, token_budget=300, batches_per_step=a_step, seed=seed)


@given(lengths, st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_every_epoch_reads_every_row_in_full_steps(tokens: list[int], rows: int, a_step: int, seed: int) -> None:
    schedule = Schedule(tokens, of(rows, a_step, seed))
    for epoch in range(2):
        steps = range(epoch * schedule.steps_per_epoch, (epoch + 1) * schedule.steps_per_epoch)
        assert all(len(schedule.batches(step)) == a_step for step in steps)
        read = Counter(row for step in steps for batch in schedule.batches(step) for row in batch)
        assert set(read) == set(range(len(tokens)))
        batches = len(cut(tokens, rows, 300))
        assert sum(read.values()) == len(tokens) or batches % a_step  # only the last step's fill reads twice


@given(lengths, st.integers(1, 3), st.integers(0, 500))
def test_a_step_is_the_same_whenever_it_is_asked_for(tokens: list[int], a_step: int, step: int) -> None:
    one, other = (Schedule(tokens, of(4, a_step, 3)) for _ in range(2))
    [other.batches(earlier) for earlier in range(min(step, 20))]
    assert one.batches(step) == other.batches(step)


@given(st.integers(1, 6), st.integers(1, 4))
def test_ranks_share_a_step_evenly(ranks: int, each: int) -> None:
    shares = [dealt(ranks * each, rank, ranks) for rank in range(ranks)]
    assert {len(share) for share in shares} == {each}
    assert sorted(index for share in shares for index in share) == list(range(ranks * each))


def test_rows_are_read_where_they_lie(world: tuple[Path, Path], rows: list[dict[str, Any]]) -> None:
    found = Rows(world[0])
    assert found.tokens == [row["tokens"] for row in rows]
    for asked in ([0], [3, 4, 5], [7, 8, 11], list(range(len(rows)))):
        assert [row["context_id"] for row in found.read(asked)] == [rows[i]["context_id"] for i in asked]


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

"""Merged runs are what sorting all rows at once gives, in pieces of one size."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.shard import ShardQuestion, ShardRow
from evoembedding.warehouse.shards import sorted_runs
from evoembedding.warehouse.shards.sorted_runs import KEY, merged, write_run


def row(number: int, segments: int, tokens: int) -> ShardRow:
    question = ShardQuestion(
        episode_id=f"ep-{number}",
        query_tokens=(number,),
        answer_before=(),
        answer_after=(1,),
        answer_tokens=(2, number),
        evidence=(0,),
    )
    return ShardRow(
        context_id=f"ctx-{number:04d}",
        segments=segments,
        tokens=tokens,
        memory_tokens=tuple((number,) * n for n in range(segments)),
        retriever_tokens=((),) * segments,
        questions=(question,) * (number % 3),
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 3)), max_size=60),
    st.integers(1, 20),
    st.integers(1, 5),
)
def test_merging_is_sorting(rows: list[tuple[int, int, int]], size: int, group: int) -> None:
    made = [(run, row(n, segments, tokens)) for n, (run, tokens, segments) in enumerate(rows)]
    everything = to_frame(ShardRow, [one for _, one in made]).sort(KEY)
    kept, sorted_runs.ROWS_A_GROUP = sorted_runs.ROWS_A_GROUP, group
    try:
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for run in sorted({run for run, _ in made}):
                paths.append(Path(folder) / f"{run}.parquet")
                write_run(to_frame(ShardRow, [one for of, one in made if of == run]), paths[-1])
            pieces = list(merged(paths, size))
    finally:
        sorted_runs.ROWS_A_GROUP = kept
    assert [len(piece) for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
    assert pl.concat(pieces).equals(everything) if pieces else everything.is_empty()

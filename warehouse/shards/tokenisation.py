"""Rows of shards from contexts and their questions, by columns: a Python object a token would take minutes more."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from evoembedding.schemas.arrow import polars_schema
from evoembedding.schemas.episode import Segment
from evoembedding.schemas.shard import EpisodeTokenizer, ShardRow


def tokenise(rows: pl.DataFrame, tokenizer: EpisodeTokenizer) -> pl.DataFrame:
    """A `ShardRow` for each context.

    Args:
        rows: columns context_id, segments, and asked: a list of (episode_id, question, answer, evidence).
        tokenizer: called once for all texts of a kind.
    """
    sizes, asked = rows["segments"].list.len().to_numpy(), rows["asked"].list.len().to_numpy()
    # Empty lists give no row, as `sizes` counts them.
    segments = [Segment(**segment) for segment in rows["segments"].explode(empty_as_null=False)]
    memory = tokenizer.memory(segments)
    running = np.cumsum([0, *map(len, memory)])
    ends = np.cumsum(sizes, dtype=np.int64)
    columns = {
        "context_id": rows["context_id"].to_arrow(),
        "segments": pa.array(sizes, pa.int64()),
        "tokens": pa.array(running[ends] - running[ends - sizes]),
        "memory_tokens": _grouped(_lists(memory), sizes),
        "retriever_tokens": _grouped(_lists(tokenizer.retriever(segments)), sizes),
        "questions": _grouped(_questions(rows["asked"].explode(empty_as_null=False).struct.unnest(), tokenizer), asked),
    }
    return pl.DataFrame(pa.table(columns)).cast(polars_schema(ShardRow))  # type: ignore[arg-type]


def _questions(asked: pl.DataFrame, tokenizer: EpisodeTokenizer) -> pa.StructArray:
    texts = asked["question"].to_list()
    answered = tokenizer.answers(texts, asked["answer"].to_list())
    return pa.StructArray.from_arrays(
        [
            asked["episode_id"].to_arrow(),
            _lists(tokenizer.queries(texts)),
            *(_lists([part[n] for part in answered]) for n in range(3)),
            asked["evidence"].to_arrow(),
        ],
        names=["episode_id", "query_tokens", "answer_before", "answer_after", "answer_tokens", "evidence"],
    )


def _lists(tokens: Sequence[Sequence[int]]) -> pa.LargeListArray:
    lengths = np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens))
    flat = np.fromiter(chain.from_iterable(tokens), dtype=np.int64, count=int(lengths.sum()))
    return _grouped(pa.array(flat), lengths)


def _grouped(values: Any, sizes: NDArray[Any]) -> pa.LargeListArray:
    return pa.LargeListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])), values)

"""Parts of a benchmark's questions that are looked at by themselves: by type, by groups of types, by length, and by
what conversations say of themselves, such as the licence and the source of documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from evoembedding.evaluation.score import ALL


def slices(frame: pl.DataFrame, groups: Mapping[str, Sequence[str]]) -> dict[str, pl.DataFrame]:
    """The rows of each slice that has any, by its name: `all`, groups of types, types, lengths in segments, then those
    of the conversations' own.

    Lengths are between powers of two, `length:17-32`, so that a slice means the same on every benchmark.
    """
    found = {ALL: frame}
    found |= {name: frame.filter(pl.col("question_type").is_in(list(types))) for name, types in groups.items()}
    found |= {name: frame.filter(pl.col("question_type") == name) for name in types_of(frame)}
    tops = sorted({1 << max(0, length - 1).bit_length() for length in frame["segments"].unique()})
    for top in tops:
        low = top // 2 + 1
        found[f"length:{low}-{top}"] = frame.filter(pl.col("segments").is_between(low, top))
    for name in frame["slices"].explode().drop_nulls().unique().sort():
        found[name] = frame.filter(pl.col("slices").list.contains(name))
    return {name: rows for name, rows in found.items() if len(rows)}


def types_of(frame: pl.DataFrame) -> list[str]:
    """The question types that were asked, in order."""
    return frame["question_type"].unique().sort().to_list()

"""The Polars schemas follow the records, and frames give the records back."""

from __future__ import annotations

import polars as pl

from evoembedding.schemas import dataset, episode, shard
from evoembedding.schemas.arrow import polars_schema, to_frame
from evoembedding.schemas.episode import Context, Record, Segment


def test_every_record_has_a_schema() -> None:
    for module in (dataset, episode, shard):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Record) and value is not Record:
                assert list(polars_schema(value)) == list(value.model_fields)


def test_nested_records_round_trip() -> None:
    context = Context(
        context_id="ctx-1",
        kind="web",
        generator="cloze",
        split="train",
        seed=3,
        document_ids=("doc-1",),
        segments=(Segment(user="a", assistant="b"), Segment(user="c")),
        fingerprint="f",
    )
    frame = to_frame(Context, [context])
    assert frame.schema == pl.Schema(polars_schema(Context))
    assert Context.model_validate(frame.row(0, named=True)) == context


def test_an_empty_frame_has_the_schema_too() -> None:
    assert to_frame(Context, []).schema == pl.Schema(polars_schema(Context))

"""Polars schemas derived from the records, so that a column is defined once."""

from __future__ import annotations

import types
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import polars as pl
from pydantic import BaseModel

SCALARS: dict[object, pl.DataType] = {
    str: pl.String(),
    int: pl.Int64(),
    float: pl.Float64(),
    bool: pl.Boolean(),
    datetime: pl.Datetime("us", "UTC"),
}


def polars_type(annotation: Any) -> pl.DataType:
    """The Polars type of a record field's annotation.

    Raises:
        TypeError: the annotation has no column type.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in SCALARS:
        return SCALARS[annotation]
    if origin is Literal:
        return polars_type(type(args[0]))
    if origin in (Union, types.UnionType):
        return polars_type(next(a for a in args if a is not type(None)))
    if origin is tuple:
        return pl.List(polars_type(args[0]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return pl.Struct(polars_schema(annotation))
    raise TypeError(f"no column type for {annotation!r}")


@cache
def _schema(record: type[BaseModel]) -> dict[str, pl.DataType]:
    return {name: polars_type(field.annotation) for name, field in record.model_fields.items()}


def polars_schema(record: type[BaseModel]) -> dict[str, pl.DataType]:
    """Column name to Polars type, in the record's field order."""
    return dict(_schema(record))


def to_frame(record: type[BaseModel], rows: Iterable[BaseModel]) -> pl.DataFrame:
    """Records as a frame with the record's schema (rows may be none)."""
    return pl.DataFrame([row.model_dump() for row in rows], schema=polars_schema(record), orient="row")

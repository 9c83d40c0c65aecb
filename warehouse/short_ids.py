"""Ids by their beginning, as a user types or copies them from a narrow screen.

The beginning of an id comes in; the one id that it can mean goes out.
"""

# ruff: noqa: S608 - what is formatted into queries are constants of ours
from __future__ import annotations

import re

from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.tables import TABLES

SHORT = re.compile(r"([a-z]+)-[0-9a-f]{1,19}")  # whole ones have 20 digits
NAMED = 5
# The tables of ids, by what these begin with.
KINDS = {
    "model": "models",
    "eval": "evaluations",
    "run": "training_runs",
    "shards": "shard_sets",
    "ds": "dataset_versions",
    "ep": "episodes",
    "q": "questions",
    "ctx": "contexts",
    "doc": "documents",
    "call": "teacher_calls",
}


def whole_id(warehouse: Warehouse, text: str) -> str:
    """The one id that begins so; text that is no beginning of an id as it is.

    Raises:
        EvoError: several ids begin so.
    """
    short = SHORT.fullmatch(text)
    if not short or short[1] not in KINDS:
        return text
    found = beginning_with(warehouse, text, NAMED + 1)
    if len(found) > 1 and text not in found:
        raise EvoError(
            f"id '{text}' is the beginning of several: {', '.join(found[:NAMED])}"
            f"{', and more' if len(found) > NAMED else ''}; nothing was done; give more of it"
        )
    return found[0] if len(found) == 1 else text


def beginning_with(warehouse: Warehouse, text: str, most: int) -> list[str]:
    """The ids that begin with `text`, which names their kind, in order."""
    table = KINDS[text.partition("-")[0]]
    (column,) = TABLES[table].key
    rows = warehouse.query(
        f"SELECT {column} AS id FROM lake.{table} WHERE starts_with({column}, ?) ORDER BY id LIMIT ?", (text, most)
    )
    return rows["id"].to_list()

"""Content ids computed again: a row whose id does not follow from it was changed after it was made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from schemas.ids import content_id
from warehouse.catalog import Warehouse

# What ids of other origin look like is not known, so that they certify nothing.
OURS = re.compile(r"(doc|ctx|q|ep)-[0-9a-f]{20}")


def _context(row: tuple[Any, ...]) -> dict[str, Any]:
    kind, generator, split, document_ids, source_ids, segments = row
    content = {
        "segments": [[segment["user"], segment["assistant"]] for segment in segments],
        "kind": kind,
        "generator": generator,
        "split": split,
    }
    if kind == "web":
        content["document_id"] = document_ids[0]
    if kind == "memory":
        content["source"] = source_ids[0]
    return content


def _named(*names: str) -> Callable[[tuple[Any, ...]], dict[str, Any]]:
    return lambda row: dict(zip(names, row, strict=True))


# By table: the prefix of its ids, the columns that these hash, and the content that is made of them.
CERTIFIED: dict[str, tuple[str, str, Callable[[tuple[Any, ...]], dict[str, Any]]]] = {
    "documents": ("doc", "document_id, title, text", _named("title", "text")),
    "contexts": ("ctx", "context_id, kind, generator, split, document_ids, source_ids, segments", _context),
    "questions": (
        "q",
        "question_id, context_id, question_type, text, answer",
        _named("context_id", "type", "text", "answer"),
    ),
    "episodes": (
        "ep",
        "episode_id, context_id, question_id, evidence",
        _named("context_id", "question_id", "evidence"),
    ),
}


def changed_rows(warehouse: Warehouse, table: str) -> Iterator[str]:
    """The ids of the rows whose content they do not certify. Rows are streamed.

    Raises:
        EvoError: a file of the table is damaged.
    """
    prefix, columns, content = CERTIFIED[table]
    for chunk in warehouse.stream(f"SELECT {columns} FROM lake.{table}"):  # noqa: S608
        for identity, *rest in chunk.iter_rows():
            if OURS.fullmatch(identity) and not _certifies(identity, prefix, tuple(rest), content):
                yield identity


def _certifies(
    identity: str, prefix: str, row: tuple[Any, ...], content: Callable[[tuple[Any, ...]], dict[str, Any]]
) -> bool:
    try:
        return content_id(prefix, content(row)) == identity
    except (IndexError, TypeError):  # a list that must not be empty is, or a value is missing
        return False

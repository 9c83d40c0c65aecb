"""Content ids computed again: a row whose id does not follow from it was changed after it was made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from evoembedding.schemas.ids import content_id
from evoembedding.warehouse.catalog import Warehouse

# What ids of other origin look like is not known, so that they certify nothing.
OURS = re.compile(r"(doc|ctx|q|ep)-[0-9a-f]{20}")
IMPORT = "import"  # in the ids of rows that were imported without ids of ours
Values = dict[str, Any]
Form = Callable[[Values], Values]  # of a row's values, the content that its id hashes


class Certified(NamedTuple):
    """A table whose ids certify content: their prefix, the columns that are hashed, and the forms that these take."""

    prefix: str
    columns: str
    forms: tuple[Form, ...]
    joined: str = ""


def _said(row: Values) -> list[list[str]]:
    return [[segment["user"], segment["assistant"]] for segment in row["segments"]]


def _context(row: Values) -> Values:
    content = {name: row[name] for name in ("kind", "generator", "split")} | {"segments": _said(row)}
    if row["kind"] == "web":
        content["document_id"] = row["document_ids"][0]
    if row["kind"] == "memory":
        content["source"] = row["source_ids"][0]
    return content


def _imported_context(row: Values) -> Values:
    return {"generator": IMPORT, "split": row["split"], "segments": _said(row)}


def _question(row: Values) -> Values:
    return {"type": row["question_type"]} | {name: row[name] for name in ("context_id", "text", "answer")}


def _imported_question(row: Values) -> Values:
    asked = {"context_id": row["context_id"], "question": row["text"], "answer": row["answer"]}
    return {"generator": IMPORT, **asked, "evidence": row["indices"]}


CERTIFIED = {
    # A document that an import knows by name alone has no text, and so no id to hold it to.
    "documents": Certified("doc", "document_id, title, text", (dict,), "WHERE text <> ''"),
    "contexts": Certified(
        "ctx",
        "context_id, kind, generator, split, document_ids, source_ids, segments",
        (_context, _imported_context),
    ),
    "questions": Certified(
        "q",
        "question_id, context_id, question_type, text, answer, indices",
        (_question, _imported_question),
        "LEFT JOIN (SELECT question_id, fingerprint, indices FROM lake.evidence) USING (question_id, fingerprint)",
    ),
    "episodes": Certified("ep", "episode_id, context_id, question_id, evidence", (dict,)),
}


def changed_rows(warehouse: Warehouse, table: str) -> Iterator[str]:
    """The ids of the rows whose content they do not certify. Rows are streamed.

    Raises:
        EvoError: a file of the table is damaged.
    """
    kind = CERTIFIED[table]
    for chunk in warehouse.stream(f"SELECT {kind.columns} FROM lake.{table} {kind.joined}"):  # noqa: S608
        names = chunk.columns[1:]
        for identity, *values in chunk.iter_rows():
            row = dict(zip(names, values, strict=True))
            if OURS.fullmatch(identity) and not any(_is(identity, kind.prefix, form, row) for form in kind.forms):
                yield identity


def _is(identity: str, prefix: str, form: Form, row: Values) -> bool:
    try:
        return content_id(prefix, form(row)) == identity
    except (IndexError, TypeError):  # a list that must not be empty is, or a value is missing
        return False

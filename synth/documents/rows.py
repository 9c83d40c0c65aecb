"""A row of a table, or what a file of text says of itself, as a document; or the reason why it is none."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping

from evoembedding.schemas.dataset import Failure
from evoembedding.schemas.episode import Document
from evoembedding.schemas.ids import content_id
from evoembedding.schemas.text import blank, clean, shown

# The columns a table may name its text's own id with, in order of preference.
ID_COLUMNS = ("source_id", "document_id", "id")
COLUMNS = ("text", "title", "uri", "license", *ID_COLUMNS)
PAYLOAD = 2000  # characters of a rejected input that are kept

_BRIEF = reprlib.Repr()  # of a deep row, repr would end in an error
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxdict = 4, PAYLOAD, 20


def document(source_id: str, text: str, title: str = "", uri: str = "", license: str = "") -> Document:
    """A document whose id is a hash of its title and text."""
    identity = content_id("doc", {"title": title or source_id, "text": text})
    return Document(
        document_id=identity,
        source_id=source_id,
        title=title or source_id,
        uri=uri,
        license=license or "unknown",
        text=text,
    )


def failure(item: str, reason: str, payload: str = "") -> Failure:
    """A rejected input; the payload keeps its first 2,000 characters."""
    payload, reason = shown(payload[:PAYLOAD]), shown(reason)
    identity = content_id("fail", {"stage": "ingest", "item": item, "reason": reason, "payload": payload})
    return Failure(failure_id=identity, stage="ingest", item=item, reason=reason, payload=payload, attempts=1)


def from_row(row: object, item: str, license: str = "", payload: str = "") -> Document | Failure:
    """A row as a document; `license` is that of rows which name none. `payload` is the row as it was read."""
    try:
        if not isinstance(row, dict):
            raise ValueError(f"expected an object, found {type(row).__name__}")
        source_id = next((found for c in ID_COLUMNS if (found := _field(row, c))), item)
        named = {"license": license} | {c: found for c in ("title", "uri", "license") if (found := _field(row, c))}
        return document(source_id, _text(row), **named)
    except ValueError as error:
        return failure(item, str(error), payload or _BRIEF.repr(row))


def _text(row: Mapping[str, object]) -> str:
    text = row.get("text")
    if isinstance(text, bytes):
        raise ValueError("no text: 'text' is not valid UTF-8")
    if not isinstance(text, str):
        raise ValueError(f"no text: 'text' is {type(text).__name__} and must be a non-empty string")
    try:
        text = clean(text)
    except ValueError as error:
        raise ValueError(f"text cannot be stored: {error}") from None
    if blank(text):
        raise ValueError("no text: 'text' is empty and must be a non-empty string")
    return text


def _field(row: Mapping[str, object], name: str) -> str:
    """What the row says of itself under that name; '' where it says nothing."""
    value = row.get(name)
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        raise ValueError(f"'{name}' is not valid UTF-8")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"'{name}' is {type(value).__name__} and must be a string")
    try:
        return clean(str(value))
    except ValueError as error:
        raise ValueError(f"'{name}' cannot be stored: {error}") from None

"""The form in which rows are read: as EvoTrain is published (arXiv 2606.21649), and with what an export adds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from schemas.episode import Split

GENERATOR = "import"
UNKNOWN = "unknown"
Kind = Literal["dialogue", "web", "memory"]


class _Loose(BaseModel):
    """Takes keys that it does not know, so that they can be told."""

    model_config = ConfigDict(extra="allow")


class Message(_Loose):
    role: Literal["user", "assistant"]
    content: str


class Meta(_Loose):
    turns: list[str]
    evidence_turns: list[int]


class Row(_Loose):
    """The published form, and what describes the row, where a file has such columns."""

    messages: list[Message]
    meta: Meta
    generator: str = GENERATOR
    question_type: str = UNKNOWN
    family: str = UNKNOWN
    kind: Kind | None = None
    split: Split = "train"
    reasoning: str = ""


class OfContext(BaseModel):
    generator: str
    fingerprint: str
    seed: int
    source_ids: list[str]
    calls: list[str]


class OfQuestion(BaseModel):
    fingerprint: str
    calls: list[str]


class OwnRow(Row):
    """A row of an export: with everything that its warehouse knew."""

    episode_id: str
    context_id: str
    question_id: str
    fingerprint: str
    kind: Kind
    document_ids: list[str]
    context: OfContext
    question: OfQuestion
    evidence: list[dict[str, Any]]
    verdicts: list[dict[str, Any]]

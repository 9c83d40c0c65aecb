"""The form in which rows are read: as EvoTrain is published (arXiv 2606.21649), and with what an export adds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from evoembedding.schemas.episode import Split
from evoembedding.schemas.text import clean

GENERATOR = "import"
UNKNOWN = "unknown"
Kind = Literal["dialogue", "web", "memory"]


FOREIGN = "foreign"  # the context in which rows are read that no manifest vouches for


def _cleaned(text: str, info: ValidationInfo) -> str:
    """Text of foreign rows is made clean. That of an export has ids, which stand for it as it is."""
    return clean(text) if info.context == FOREIGN else text


Text = Annotated[str, AfterValidator(_cleaned)]


class _Loose(BaseModel):
    """Takes keys that it does not know, so that they can be told."""

    model_config = ConfigDict(extra="allow")


class Message(_Loose):
    role: Literal["user", "assistant"]
    content: Text


class Meta(_Loose):
    turns: list[Text]
    evidence_turns: list[int]


class Row(_Loose):
    """The published form, and what describes the row, where a file has such columns."""

    messages: list[Message]
    meta: Meta
    generator: Text = GENERATOR
    question_type: Text = UNKNOWN
    family: Text = UNKNOWN
    kind: Kind | None = None
    split: Split = "train"
    reasoning: Text = ""


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

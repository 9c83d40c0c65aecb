"""What the pipeline makes: documents, contexts, questions, evidence, verdicts and episodes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Split = Literal["train", "heldout"]


class Record(BaseModel):
    """A frozen row of the warehouse."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Segment(Record):
    """One step of a context: a user message and the assistant's reply (empty for plain text)."""

    user: str
    assistant: str = ""

    @property
    def text(self) -> str:
        """The retriever's text form (arXiv 2606.21649: `User: ...\\nAssistant: ...`)."""
        return f"User: {self.user}\nAssistant: {self.assistant}".rstrip()


class Document(Record):
    """A source text. `document_id` is the content id of its title and text; `source_id` its name at home."""

    document_id: str
    source_id: str
    title: str
    uri: str
    license: str
    text: str


class Context(Record):
    """Ordered segments. `document_ids` is empty for simulated dialogues."""

    context_id: str
    kind: Literal["dialogue", "web", "memory"]
    generator: str
    split: Split
    seed: int
    document_ids: tuple[str, ...]
    segments: tuple[Segment, ...]
    fingerprint: str


class Question(Record):
    """A question put after the whole context has been read."""

    question_id: str
    context_id: str
    question_type: str
    family: str
    text: str
    answer: str
    generator: str
    fingerprint: str


class Evidence(Record):
    """Zero-based indices of the segments that answer a question, with a vote count each."""

    question_id: str
    indices: tuple[int, ...]
    votes: tuple[int, ...]
    generator: str
    fingerprint: str


class Verdict(Record):
    """The outcome of one check on one question; `reason` is empty when it passed."""

    question_id: str
    check: str
    passed: bool
    reason: str
    fingerprint: str


class Episode(Record):
    """A verified question on its context: what a model trains on."""

    episode_id: str
    context_id: str
    question_id: str
    generator: str
    split: Split
    question_type: str
    family: str
    question: str
    answer: str
    evidence: tuple[int, ...]
    segments: int
    fingerprint: str


class Draft(Record):
    """What a generator hands over: a context and its questions with their evidence, not yet checked."""

    context: Context
    questions: tuple[Question, ...]
    evidence: tuple[Evidence, ...]

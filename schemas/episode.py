"""What the pipeline makes: documents, contexts, questions, evidence, verdicts and episodes."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

Split = Literal["train", "heldout"]


class Record(BaseModel):
    """A frozen row of the warehouse."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def replace(self, **changes: Any) -> Self:
        """A copy with these values, which are validated as at construction: `model_copy` would take anything.

        Raises:
            pydantic.ValidationError: there is no such field, or a value is not allowed.
        """
        return self.model_validate({**dict(self), **changes})


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
    """Ordered segments. `document_ids` is empty for dialogues.

    `source_ids` names the contexts that a memory was extracted from; `calls`, here and below, the teacher calls that
    made the row.
    """

    context_id: str
    kind: Literal["dialogue", "web", "memory"]
    generator: str
    split: Split
    seed: int
    document_ids: tuple[str, ...]
    segments: tuple[Segment, ...]
    fingerprint: str
    source_ids: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()


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
    reasoning: str = ""
    calls: tuple[str, ...] = ()


class Evidence(Record):
    """Zero-based indices of the segments that answer a question, with a vote count each, out of `voters`."""

    question_id: str
    indices: tuple[int, ...]
    votes: tuple[int, ...]
    generator: str
    fingerprint: str
    voters: int = 1
    calls: tuple[str, ...] = ()


class Verdict(Record):
    """The outcome of one check on one question; `reason` is empty when it passed.

    The check `all` is the last word on a question: it names the episode when all others passed.
    `score` is what was held against the check's threshold, 0 to 1 where the check measures anything.
    """

    question_id: str
    check_name: str
    passed: bool
    reason: str
    fingerprint: str
    episode_id: str = ""
    score: float | None = None
    calls: tuple[str, ...] = ()


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

"""The records that teachers' answers fill. Reasoning comes before what it reasons about, as models write in order."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# Bounds on lists and texts, so that a weak model under structured output comes to an end.
MOST_ITEMS = 64
MOST_EVIDENCE = 16  # segments; EvoTrain-180K has less than two for a question
LONG = 1500  # characters: a message of a dialogue
SHORT = 400  # a sentence or two


def _cut(thoughts: Any) -> Any:
    return thoughts[:SHORT] if isinstance(thoughts, str) else thoughts


# Nothing is made of it: one that is too long is cut, and no reason to ask again.
Reasoning = Annotated[str, BeforeValidator(_cut), Field(max_length=SHORT)]


class Answer(BaseModel):
    """Nothing but the named fields, as strict structured output wants it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedEvent(Answer):
    """Something that happens in a person's life, and how it bears on what was known before."""

    kind: Literal["new", "update", "correction", "cancellation", "aside"]
    what: str = Field(min_length=1, max_length=SHORT)


class Plan(Answer):
    """What a dialogue will tell, in order."""

    events: tuple[PlannedEvent, ...] = Field(min_length=1, max_length=MOST_ITEMS)


class Turn(Answer):
    """A user message and the assistant's reply."""

    user: str = Field(min_length=1, max_length=LONG)
    assistant: str = Field(min_length=1, max_length=LONG)


class Turns(Answer):
    """Turns of a dialogue, in order."""

    turns: tuple[Turn, ...] = Field(min_length=1, max_length=MOST_ITEMS)


class Statement(Answer):
    """One thing worth remembering, in a sentence that stands alone."""

    kind: Literal["fact", "event", "preference", "plan", "relation", "update"]
    text: str = Field(min_length=1, max_length=SHORT)


class Statements(Answer):
    """Statements in the order of the text; none where it holds nothing worth remembering."""

    statements: tuple[Statement, ...] = Field(max_length=MOST_ITEMS)


class QuestionAnswer(Answer):
    """A question of a given type with its answer."""

    reasoning: Reasoning
    question: str = Field(min_length=1, max_length=SHORT)
    answer: str = Field(min_length=1, max_length=SHORT)


class EvidenceIndices(Answer):
    """Numbers of the segments that are needed to answer."""

    reasoning: Reasoning
    segments: tuple[int, ...] = Field(max_length=MOST_EVIDENCE)


class ShortAnswer(Answer):
    """An answer in a few words; `unknown` where the text does not tell."""

    answer: str = Field(max_length=SHORT)


class Judgement(Answer):
    """Yes or no, and why."""

    reasoning: Reasoning
    verdict: bool

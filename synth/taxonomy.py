"""The kinds of question that generators ask, each in a family."""

from __future__ import annotations

from typing import NamedTuple


class QuestionType(NamedTuple):
    """A kind of question. A derived answer is computed from the evidence and need not occur in it."""

    name: str
    family: str
    description: str
    derived_answer: bool = False


_TYPES = (
    QuestionType("cloze", "recall", "the masked term of a sentence"),
    QuestionType("stable_fact", "recall", "a fact stated once"),
    QuestionType("who_said", "recall", "who made a remark"),
    QuestionType("first", "temporal", "the first value of an attribute that changed"),
    QuestionType("order_second", "temporal", "the second value of an attribute that changed"),
    QuestionType("before_event", "temporal", "the value in force just before an event"),
    QuestionType("after_event", "temporal", "the first value set after an event"),
    QuestionType("original_plan", "temporal", "the first plan among several"),
    QuestionType("latest", "knowledge_update", "the value in force at the end"),
    QuestionType("previous", "knowledge_update", "the value that the latest one replaced"),
    QuestionType("correction", "knowledge_update", "the value of the last correction"),
    QuestionType("cancellation", "knowledge_update", "the plan called off last"),
    QuestionType("count", "aggregation", "how often something happened", derived_answer=True),
    QuestionType("bridge", "multi_hop", "the latest value of a person known only by an event"),
    QuestionType("considered", "discourse", "a value weighed and not chosen"),
    QuestionType("suggestion", "discourse", "what the assistant proposed"),
    QuestionType("pronoun", "coreference", "a statement whose subject is named one segment earlier"),
    QuestionType("nickname", "coreference", "a statement about a person under a nickname"),
)
QUESTION_TYPES: dict[str, QuestionType] = {kind.name: kind for kind in _TYPES}

# Answering these needs the state of the world at some time, not only matching words.
STATE_TYPES = ("latest", "first", "before_event", "correction", "cancellation")

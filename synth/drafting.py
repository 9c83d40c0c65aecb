"""A context with its questions and evidence as an offline generator hands them over: their ids, and what they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from evoembedding.schemas.episode import Context, Draft, Evidence, Question, Segment, Split
from evoembedding.schemas.ids import content_id
from evoembedding.synth.contexts.row import context_row
from evoembedding.synth.taxonomy import QUESTION_TYPES


class Asked(NamedTuple):
    """A question with its answer and evidence indices."""

    type: str
    text: str
    answer: str
    evidence: tuple[int, ...]


def draft(
    generator: str,
    kind: Literal["dialogue", "web"],
    segments: Sequence[Segment],
    asked: Sequence[Asked],
    fingerprint: str,
    *,
    seed: int,
    split: Split = "train",
    document_id: str = "",
) -> Draft:
    """The rows of one context; the same content gives the same ids. A generator is sure of its evidence: one vote."""
    context = context_row(
        kind,
        generator,
        segments,
        fingerprint,
        seed=seed,
        split=split,
        document_ids=(document_id,) if document_id else (),
        origin={"document_id": document_id} if document_id else {},
    )
    questions = tuple(_question(context, one) for one in asked)
    evidence = tuple(
        Evidence(
            question_id=question.question_id,
            indices=one.evidence,
            votes=(1,) * len(one.evidence),
            generator=generator,
            fingerprint=fingerprint,
        )
        for question, one in zip(questions, asked, strict=True)
    )
    return Draft(context=context, questions=questions, evidence=evidence)


def _question(context: Context, asked: Asked) -> Question:
    content = {"context_id": context.context_id, "type": asked.type, "text": asked.text, "answer": asked.answer}
    return Question(
        question_id=content_id("q", content),
        context_id=context.context_id,
        question_type=asked.type,
        family=QUESTION_TYPES[asked.type].family,
        text=asked.text,
        answer=asked.answer,
        generator=context.generator,
        fingerprint=context.fingerprint,
    )

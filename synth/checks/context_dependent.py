"""The question does not give its answer away."""

from __future__ import annotations

from evoembedding.schemas.episode import Draft, Evidence, Question
from evoembedding.synth.checks.check import Check
from evoembedding.synth.taxonomy import QUESTION_TYPES
from evoembedding.synth.text import normalise


def context_dependent(draft: Draft, question: Question, evidence: Evidence) -> str:
    """Whether it holds the answer, unless it names the answers to choose from."""
    if QUESTION_TYPES[question.question_type].choice:
        return ""
    answer = normalise(question.answer)
    return "the question holds its answer" if answer.strip() and answer in normalise(question.text) else ""


check = Check("context_dependent", "the question does not hold its answer, unless it names a choice", context_dependent)

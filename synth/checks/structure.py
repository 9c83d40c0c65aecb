"""Question, answer and segments hold text, and the parts name each other."""

from __future__ import annotations

import re

from evoembedding.schemas.episode import Draft, Evidence, Question
from evoembedding.synth.checks.check import Check
from evoembedding.synth.cloze import BLANK
from evoembedding.synth.taxonomy import QUESTION_TYPES
from evoembedding.synth.text import words

_QUOTED = re.compile(r'^[^"]*"(.*)"[^"]*$', re.DOTALL)


def structure(draft: Draft, question: Question, evidence: Evidence) -> str:
    """What is empty, unknown, or names something else."""
    if not question.text.strip():
        return "the question is empty"
    if not question.answer.strip():
        return "the answer is empty"
    if BLANK in question.text and not words(_QUOTED.sub(r"\1", question.text).replace(BLANK, " ")):
        return "the statement is nothing but its blank"
    if question.question_type not in QUESTION_TYPES:
        return f"unknown question type '{question.question_type}'"
    if question.context_id != draft.context.context_id or evidence.question_id != question.question_id:
        return "question, evidence and context do not name each other"
    empty = next((i for i, s in enumerate(draft.context.segments) if not s.user.strip()), None)
    return "" if empty is None else f"segment {empty} is empty"


check = Check("structure", "question, answer and segments hold text, and the parts name each other", structure)

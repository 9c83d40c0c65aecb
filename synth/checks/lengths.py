"""Nothing is longer than training reads."""

from __future__ import annotations

from evoembedding.schemas.episode import Draft, Evidence, Question
from evoembedding.synth.checks.check import Check
from evoembedding.synth.cloze import QUESTION_WORDS
from evoembedding.synth.text import length

SEGMENT_WORDS = 4000
ANSWER_WORDS = 60


def lengths(draft: Draft, question: Question, evidence: Evidence) -> str:
    """What is too long."""
    if length(question.text) > QUESTION_WORDS:
        return f"the question has over {QUESTION_WORDS} words"
    if length(question.answer) > ANSWER_WORDS:
        return f"the answer has over {ANSWER_WORDS} words"
    long = any(length(s.text) > SEGMENT_WORDS for s in draft.context.segments)
    return f"a segment has over {SEGMENT_WORDS} words" if long else ""


check = Check(
    "lengths",
    f"the question has at most {QUESTION_WORDS} words, the answer {ANSWER_WORDS}, a segment {SEGMENT_WORDS:,}",
    lengths,
)

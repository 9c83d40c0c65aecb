"""The evidence holds the answer, word by word or by a judge's word."""

from __future__ import annotations

from evoembedding.schemas.configs import VerifyConfig
from evoembedding.schemas.episode import Draft, Evidence, Question
from evoembedding.synth.checks.check import Case, Check, Measured
from evoembedding.synth.prompts.answers import Judgement
from evoembedding.synth.taxonomy import QUESTION_TYPES
from evoembedding.synth.text import normalise


def grounded(draft: Draft, question: Question, evidence: Evidence) -> str:
    """Whether no evidence segment holds the answer, unless the answer is derived from it."""
    if QUESTION_TYPES[question.question_type].derived_answer:
        return ""
    held = any(normalise(question.answer) in normalise(draft.context.segments[i].text) for i in evidence.indices)
    return "" if held else "no evidence segment holds the answer"


async def supported(case: Case) -> Measured:
    """1 where a segment holds the answer as it is, which is not asked; else what the judge says."""
    question = case.question
    derived = QUESTION_TYPES[question.question_type].derived_answer
    if not derived and any(normalise(question.answer) in normalise(segment.text) for segment in case.inside):
        return Measured(1.0)
    judged = await case.asker.ask(
        case.asker.judge,
        "verify",
        "supported",
        Judgement,
        sampling=case.config.verify.sampling,
        segments=case.inside,
        question=question.text,
        answer=question.answer,
    )
    return Measured(float(judged.value.verdict), judged.calls)


def judge(score: float, config: VerifyConfig) -> str:
    """By the judge's word."""
    return "" if score else "the evidence does not support the answer"


check = Check(
    "grounded",
    "the evidence holds the answer, as it is or, where it is derived from it, by a judge's word",
    grounded,
    supported,
    judge,
    prompts=("supported",),
    calls=lambda config: 1.0,
)

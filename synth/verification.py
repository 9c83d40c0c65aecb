"""Stage 3, second half: the checks of a teacher's question. A verdict a check; those that ask a teacher ask together.

No check waits for another one's verdict, so that every threshold can be moved later without a new call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evoembedding.schemas.configs import TeachingConfig
from evoembedding.schemas.episode import Context, Draft, Evidence, Question, Segment, Verdict
from evoembedding.synth.checks import context_dependent, evidence_in_range, lengths, structure
from evoembedding.synth.evidence import agreement
from evoembedding.synth.evidence import elected as by_votes
from evoembedding.synth.prompts.answers import Judgement, ShortAnswer
from evoembedding.synth.taxonomy import QUESTION_TYPES
from evoembedding.synth.teachers.asking import Asker, together
from evoembedding.synth.text import normalise

VERSION = "verification-1"
FREE = {
    "structure": structure,
    "evidence_in_range": evidence_in_range,
    "lengths": lengths,
    "context_dependent": context_dependent,
}
UNKNOWN = normalise("unknown")


class Measured(NamedTuple):
    """What a check that asks measured: a share of 0 to 1, and the calls that it took."""

    score: float
    calls: tuple[str, ...]


async def verify_question(
    asker: Asker, config: TeachingConfig, context: Context, question: Question, evidence: Evidence, fingerprint: str
) -> tuple[Evidence, list[Verdict]]:
    """The evidence with enough votes, and the verdicts: those without a call first, the others if all of these pass.

    Raises:
        NotAnsweredError: a check got no usable answer.
    """
    elected = by_votes(evidence, config.verify.min_votes)

    def verdict(check: str, reason: str, score: float | None = None, calls: Sequence[str] = ()) -> Verdict:
        return Verdict(
            question_id=question.question_id,
            check_name=check,
            passed=not reason,
            reason=reason,
            fingerprint=fingerprint,
            score=score,
            calls=tuple(calls),
        )

    draft = Draft(context=context, questions=(question,), evidence=(elected,))
    verdicts = [verdict(name, check(draft, question, elected)) for name, check in FREE.items()]
    if not all(v.passed for v in verdicts):
        return elected, verdicts
    wanted, agreed = config.verify, agreement(evidence)
    inside = [context.segments[i] for i in elected.indices]
    outside = [s for i, s in enumerate(context.segments) if i not in elected.indices]
    grounded, only, closed, removed = await together(
        [
            _grounded(asker, config, question, inside),
            _answered(asker, config, question, inside),
            _answered(asker, config, question, []),
            _answered(asker, config, question, outside),
        ]
    )
    return elected, [
        *verdicts,
        verdict("agreement", "annotators disagree" if agreed < wanted.agreement_least else "", agreed),
        verdict("grounded", "" if grounded.score else "the evidence does not support the answer", *grounded),
        verdict(
            "evidence_only",
            "not answered from the evidence alone" if only.score < wanted.evidence_only_least else "",
            *only,
        ),
        verdict(
            "closed_book", "answered without the context" if closed.score > wanted.closed_book_most else "", *closed
        ),
        verdict(
            "evidence_removed",
            "answered without the evidence" if removed.score > wanted.evidence_removed_most else "",
            *removed,
        ),
    ]


async def _grounded(asker: Asker, config: TeachingConfig, question: Question, inside: Sequence[Segment]) -> Measured:
    """Whether the evidence holds the answer word by word, unless it is derived, or else by the judge's word."""
    derived = QUESTION_TYPES[question.question_type].derived_answer
    if not derived and any(normalise(question.answer) in normalise(segment.text) for segment in inside):
        return Measured(1.0, ())
    judged = await asker.ask(
        asker.judge,
        "verify",
        "supported",
        Judgement,
        sampling=config.verify.sampling,
        segments=inside,
        question=question.text,
        answer=question.answer,
    )
    return Measured(float(judged.value.verdict), judged.calls)


async def _answered(asker: Asker, config: TeachingConfig, question: Question, shown: Sequence[Segment]) -> Measured:
    """The share of right answers among those given from the shown segments."""
    tries = await together(
        [_one_answer(asker, config, question, shown, sample) for sample in range(config.verify.samples)]
    )
    calls = tuple(call for one in tries for call in one.calls)
    return Measured(sum(one.score for one in tries) / len(tries), calls)


async def _one_answer(
    asker: Asker, config: TeachingConfig, question: Question, shown: Sequence[Segment], sample: int
) -> Measured:
    sampling = config.verify.sampling
    given = await asker.ask(
        asker.judge, "verify", "answer", ShortAnswer, sample, sampling, segments=shown, question=question.text
    )
    said, right = normalise(given.value.answer), normalise(question.answer)
    if not said.strip() or said == UNKNOWN:
        return Measured(0.0, given.calls)
    if said == right:
        return Measured(1.0, given.calls)
    judged = await asker.ask(
        asker.judge,
        "verify",
        "same_answer",
        Judgement,
        sample,
        sampling,
        question=question.text,
        answer=question.answer,
        other=given.value.answer,
    )
    return Measured(float(judged.value.verdict), (*given.calls, *judged.calls))

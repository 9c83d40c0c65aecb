"""What checks by answering share: how often a teacher gives the right answer from the segments that it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evoembedding.schemas.configs import VerifyConfig
from evoembedding.schemas.episode import Segment
from evoembedding.synth.checks.check import Case, Check, Measured
from evoembedding.synth.prompts.answers import Judgement, ShortAnswer
from evoembedding.synth.teachers.asking import together
from evoembedding.synth.text import normalise

PROMPTS = ("answer", "same_answer")
UNKNOWN = normalise("unknown")


def by_answering(
    name: str,
    says: str,
    shown: Callable[[Case], Sequence[Segment]],
    judges: Callable[[float, VerifyConfig], str],
    calls: int,
) -> Check:
    """A check that measures the share of right answers from what is shown of a case.

    Args:
        calls: that a sample is likely to take: 1, or 2 where most answers are such that a judge compares them. What
            is not known is answered `unknown`, of which no judge is asked.
    """

    async def measures(case: Case) -> Measured:
        return await answered(case, shown(case))

    return Check(
        name,
        says,
        measures=measures,
        judges=judges,
        prompts=PROMPTS,
        calls=lambda config: float(calls * config.samples),
    )


async def answered(case: Case, shown: Sequence[Segment]) -> Measured:
    """The share of right answers among `samples` given from the shown segments."""
    tries = await together([_one_answer(case, shown, sample) for sample in range(case.config.verify.samples)])
    calls = tuple(call for one in tries for call in one.calls)
    return Measured(sum(one.score for one in tries) / len(tries), calls)


async def _one_answer(case: Case, shown: Sequence[Segment], sample: int) -> Measured:
    asker, question, sampling = case.asker, case.question, case.config.verify.sampling
    given = await asker.ask(
        asker.judge, "verify", "answer", ShortAnswer, sample, sampling, segments=shown, question=question.text
    )
    answer, right = normalise(given.value.answer), normalise(question.answer)
    # What the prompt asks for where the segments do not tell.
    if not answer.strip() or answer == UNKNOWN:
        return Measured(0.0, given.calls)
    # The same words need no judge: a call saved.
    if answer == right:
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

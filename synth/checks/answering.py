"""What checks by answering share: how often a teacher gives the right answer from the segments that it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from evoembedding.schemas.episode import Segment
from evoembedding.synth.checks.check import Case, Measured
from evoembedding.synth.prompts.answers import Judgement, ShortAnswer
from evoembedding.synth.teachers.asking import together
from evoembedding.synth.text import normalise

PROMPTS = ("answer", "same_answer")
UNKNOWN = normalise("unknown")


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
    said, right = normalise(given.value.answer), normalise(question.answer)
    # What the prompt asks for where the segments do not tell.
    if not said.strip() or said == UNKNOWN:
        return Measured(0.0, given.calls)
    # The same words need no judge: a call saved.
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

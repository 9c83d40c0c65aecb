"""The question is not answered by heart."""

from __future__ import annotations

from evoembedding.schemas.configs import VerifyConfig
from evoembedding.synth.checks.answering import PROMPTS, answered
from evoembedding.synth.checks.check import Case, Check, Measured


async def closed_book(case: Case) -> Measured:
    """The share of right answers without any context."""
    return await answered(case, [])


def judge(score: float, config: VerifyConfig) -> str:
    """By `closed_book_most`."""
    return "answered without the context" if score > config.closed_book_most else ""


check = Check(
    "closed_book",
    "it is not answered by heart: `closed_book_most`",
    measures=closed_book,
    judges=judge,
    prompts=PROMPTS,
    calls=lambda config: 1.0 * config.samples,  # most answers are `unknown`, of which no judge is asked
)

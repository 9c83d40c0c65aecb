"""The evidence alone is enough to answer."""

from __future__ import annotations

from evoembedding.schemas.configs import VerifyConfig
from evoembedding.synth.checks.answering import PROMPTS, answered
from evoembedding.synth.checks.check import Case, Check, Measured


async def evidence_only(case: Case) -> Measured:
    """The share of right answers from the evidence alone."""
    return await answered(case, case.inside)


def judge(score: float, config: VerifyConfig) -> str:
    """By `evidence_only_least`."""
    return "not answered from the evidence alone" if score < config.evidence_only_least else ""


check = Check(
    "evidence_only",
    "the question is answered from its evidence alone: `evidence_only_least`",
    measures=evidence_only,
    judges=judge,
    prompts=PROMPTS,
    calls=lambda config: 2.0 * config.samples,  # the answer, and whether it is the same
)

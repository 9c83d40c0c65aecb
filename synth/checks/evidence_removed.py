"""The question is not answered without its evidence."""

from __future__ import annotations

from evoembedding.schemas.configs import VerifyConfig
from evoembedding.synth.checks.answering import PROMPTS, answered
from evoembedding.synth.checks.check import Case, Check, Measured


async def evidence_removed(case: Case) -> Measured:
    """The share of right answers from all segments but the evidence."""
    return await answered(case, case.outside)


def judge(score: float, config: VerifyConfig) -> str:
    """By `evidence_removed_most`."""
    return "answered without the evidence" if score > config.evidence_removed_most else ""


check = Check(
    "evidence_removed",
    "nor without its evidence: `evidence_removed_most`",
    measures=evidence_removed,
    judges=judge,
    prompts=PROMPTS,
    calls=lambda config: 1.0 * config.samples,  # as in closed_book
)

"""Annotators agree on the evidence."""

from __future__ import annotations

from evoembedding.schemas.configs import VerifyConfig
from evoembedding.synth.checks.check import Case, Check, Measured
from evoembedding.synth.evidence import agreement as agreed


async def agreement(case: Case) -> Measured:
    """Votes for the segments that any annotator named, of all votes that they could have had."""
    return Measured(agreed(case.votes))


def judge(score: float, config: VerifyConfig) -> str:
    """By `agreement_least`."""
    return "annotators disagree" if score < config.agreement_least else ""


check = Check("agreement", "annotators agree on the evidence: `agreement_least`", measures=agreement, judges=judge)

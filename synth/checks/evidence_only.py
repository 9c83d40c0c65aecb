"""The evidence alone is enough to answer."""

from __future__ import annotations

from evoembedding.schemas.configs import VerifyConfig
from evoembedding.synth.checks.answering import by_answering


def judge(score: float, config: VerifyConfig) -> str:
    """By `evidence_only_least`."""
    return "not answered from the evidence alone" if score < config.evidence_only_least else ""


check = by_answering(
    "evidence_only",
    "the question is answered from its evidence alone: `evidence_only_least`",
    lambda case: case.inside,
    judge,
    calls=2,
)

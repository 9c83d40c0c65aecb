"""The question is not answered without its evidence."""

from __future__ import annotations

from evoembedding.schemas.configs import VerifyConfig
from evoembedding.synth.checks.answering import by_answering


def judge(score: float, config: VerifyConfig) -> str:
    """By `evidence_removed_most`."""
    return "answered without the evidence" if score > config.evidence_removed_most else ""


check = by_answering(
    "evidence_removed",
    "nor without its evidence: `evidence_removed_most`",
    lambda case: case.outside,
    judge,
    calls=1,
)

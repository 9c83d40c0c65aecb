"""The question is not answered by heart."""

from __future__ import annotations

from evoembedding.schemas.configs import VerifyConfig
from evoembedding.synth.checks.answering import by_answering


def judge(score: float, config: VerifyConfig) -> str:
    """By `closed_book_most`."""
    return "answered without the context" if score > config.closed_book_most else ""


check = by_answering(
    "closed_book",
    "it is not answered by heart: `closed_book_most`",
    lambda case: [],
    judge,
    calls=1,
)

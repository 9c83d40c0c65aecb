"""Simulated worlds that training has not seen, as a benchmark: a draft's context with the questions put after it."""

from __future__ import annotations

from collections.abc import Iterable

from evoembedding.evaluation.benchmarks.benchmark import Benchmark, Given
from evoembedding.schemas.benchmark import BenchmarkData, Conversation, Query
from evoembedding.schemas.episode import Draft


def from_drafts(drafts: Iterable[Draft]) -> tuple[Conversation, ...]:
    """One conversation a draft, its evidence as gold."""
    return tuple(
        Conversation(
            conversation_id=draft.context.context_id,
            segments=draft.context.segments,
            queries=tuple(
                Query(text=question.text, gold=evidence.indices, question_type=question.question_type)
                for question, evidence in zip(draft.questions, draft.evidence, strict=True)
            ),
        )
        for draft in drafts
    )


def _read(given: Given) -> BenchmarkData:
    # Named after the worlds: scores on those of other settings or older code are not taken for scores on these.
    return BenchmarkData(name=f"heldout:{given.worlds}", conversations=from_drafts(given.drafts()))


HELDOUT = Benchmark("heldout", "held-out simulated dialogues", "simulated dialogues that no training has seen", _read)

"""Our own episodes as a benchmark: a draft's context with the questions put after it."""

from __future__ import annotations

from collections.abc import Iterable

from evoembedding.schemas.benchmark import Conversation, Query
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

"""Evidence is some of the context's segments, each once, in order."""

from __future__ import annotations

from evoembedding.schemas.episode import Draft, Evidence, Question
from evoembedding.synth.checks.check import Check


def evidence_in_range(draft: Draft, question: Question, evidence: Evidence) -> str:
    """Which indices are not."""
    indices, total = evidence.indices, len(draft.context.segments)
    if not indices:
        return "no evidence"
    if list(indices) != sorted(set(indices)):
        return "evidence indices are not unique and sorted"
    if indices[0] < 0 or indices[-1] >= total:
        return f"evidence index outside 0..{total - 1}"
    return "every segment is evidence" if len(indices) == total else ""


check = Check("evidence_in_range", "evidence is some of the context's segments, but not all of them", evidence_in_range)

"""Stage 3, first half: which segments answer a question, by the votes of one or more teachers."""

from __future__ import annotations

from collections import Counter

from evoembedding.schemas.configs import TeachingConfig
from evoembedding.schemas.episode import Context, Evidence, Question
from evoembedding.synth.prompts.answers import EvidenceIndices
from evoembedding.synth.teachers.asking import Asker, together

VERSION = "evidence-1"


async def annotate(
    asker: Asker, config: TeachingConfig, context: Context, question: Question, fingerprint: str
) -> Evidence:
    """Every index that an annotator named, with its votes; those outside the context too, for the checks to see.

    Raises:
        NotAnsweredError: an annotator gave no usable answer.
    """
    turns = Counter[str]()
    asked = []
    for name in asker.annotators:
        asked.append(
            asker.ask(
                name,
                "evidence",
                "evidence",
                EvidenceIndices,
                # A teacher that votes twice is asked with another sample: the ledger would answer the same request.
                sample=turns[name],
                sampling=config.annotation,
                segments=context.segments,
                question=question.text,
                answer=question.answer,
            )
        )
        turns[name] += 1
    answered = await together(asked)
    # A segment named twice in an answer has one vote.
    votes = Counter(index for one in answered for index in set(one.value.segments))
    return Evidence(
        question_id=question.question_id,
        indices=tuple(sorted(votes)),
        votes=tuple(votes[index] for index in sorted(votes)),
        generator=", ".join(dict.fromkeys(asker.model(name) for name in asker.annotators)),
        fingerprint=fingerprint,
        voters=len(answered),
        calls=tuple(call for one in answered for call in one.calls),
    )


def elected(evidence: Evidence, min_votes: int | None) -> Evidence:
    """The evidence less the segments with too few votes; more than half of the voters by default."""
    least = min_votes or evidence.voters // 2 + 1
    kept = [(i, v) for i, v in zip(evidence.indices, evidence.votes, strict=True) if v >= least]
    return evidence.replace(indices=tuple(i for i, _ in kept), votes=tuple(v for _, v in kept))


def agreement(evidence: Evidence) -> float:
    """The mean share of the votes that a named segment got: 1 when all annotators named the same, 0 without any."""
    return sum(evidence.votes) / (evidence.voters * len(evidence.indices)) if evidence.indices else 0.0

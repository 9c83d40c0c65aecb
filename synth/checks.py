"""Checks that a question must pass to become an episode. Each returns why it failed, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

from evoembedding.schemas.episode import Context, Draft, Episode, Evidence, Question, Record, Verdict
from evoembedding.schemas.ids import content_id, digest
from evoembedding.synth.cloze import BLANK, QUESTION_WORDS
from evoembedding.synth.tables import tables
from evoembedding.synth.taxonomy import QUESTION_TYPES
from evoembedding.synth.text import length, normalise, words

VERSION = "checks-4"  # raised by hand for a change of code that changes a verdict
SEGMENT_WORDS = 4000
ANSWER_WORDS = 60
_QUOTED = re.compile(r'^[^"]*"(.*)"[^"]*$', re.DOTALL)

Check = Callable[[Draft, Question, Evidence], str]


class Checked(Record):
    """A draft with one verdict a question, and the episodes of the questions that passed."""

    draft: Draft
    verdicts: tuple[Verdict, ...]
    episodes: tuple[Episode, ...]


def structure(draft: Draft, question: Question, evidence: Evidence) -> str:
    """Question, answer and segments hold text, and the parts name each other."""
    if not question.text.strip():
        return "the question is empty"
    if not question.answer.strip():
        return "the answer is empty"
    if BLANK in question.text and not words(_QUOTED.sub(r"\1", question.text).replace(BLANK, " ")):
        return "the statement is nothing but its blank"
    if question.question_type not in QUESTION_TYPES:
        return f"unknown question type '{question.question_type}'"
    if question.context_id != draft.context.context_id or evidence.question_id != question.question_id:
        return "question, evidence and context do not name each other"
    empty = next((i for i, s in enumerate(draft.context.segments) if not s.user.strip()), None)
    return "" if empty is None else f"segment {empty} is empty"


def evidence_in_range(draft: Draft, question: Question, evidence: Evidence) -> str:
    """Indices are some of the context's, each once, in order."""
    indices, total = evidence.indices, len(draft.context.segments)
    if not indices:
        return "no evidence"
    if list(indices) != sorted(set(indices)):
        return "evidence indices are not unique and sorted"
    if indices[0] < 0 or indices[-1] >= total:
        return f"evidence index outside 0..{total - 1}"
    return "every segment is evidence" if len(indices) == total else ""


def lengths(draft: Draft, question: Question, evidence: Evidence) -> str:
    """Nothing longer than training reads."""
    if length(question.text) > QUESTION_WORDS:
        return f"the question has over {QUESTION_WORDS} words"
    if length(question.answer) > ANSWER_WORDS:
        return f"the answer has over {ANSWER_WORDS} words"
    long = any(length(s.text) > SEGMENT_WORDS for s in draft.context.segments)
    return f"a segment has over {SEGMENT_WORDS} words" if long else ""


def context_dependent(draft: Draft, question: Question, evidence: Evidence) -> str:
    """The question does not give its answer away, unless it names the answers to choose from."""
    if QUESTION_TYPES[question.question_type].choice:
        return ""
    answer = normalise(question.answer)
    return "the question holds its answer" if answer.strip() and answer in normalise(question.text) else ""


def grounded(draft: Draft, question: Question, evidence: Evidence) -> str:
    """The evidence holds the answer, unless the answer is derived from it."""
    if QUESTION_TYPES[question.question_type].derived_answer:
        return ""
    held = any(normalise(question.answer) in normalise(draft.context.segments[i].text) for i in evidence.indices)
    return "" if held else "no evidence segment holds the answer"


CHECKS: dict[str, Check] = {
    "structure": structure,
    "evidence_in_range": evidence_in_range,
    "lengths": lengths,
    "context_dependent": context_dependent,
    "grounded": grounded,
}


def held() -> str:
    """A digest of what checks compare with: limits, which checks there are, and what types ask of an answer."""
    types = [[kind.name, kind.choice, kind.derived_answer] for kind in QUESTION_TYPES.values()]
    return digest([tables(__name__, "synth.text", but=("QUESTION_TYPES",)), types], 10)


def components() -> dict[str, str]:
    """What can change a verdict on a draft, by name."""
    return {"code": VERSION, "checks": held()}


def fingerprint(before: str, generator: str) -> str:
    """Identifies the verification of what the stage `before` drafted."""
    return digest({"stage": "verify", "generator": generator, "before": before, **components()}, 10)


def verify(draft: Draft, seen: set[str]) -> Checked:
    """Check each question up to its first failure. `seen` holds the questions already kept, and grows.

    A rejected question has the verdict of the check that failed; every question has the last word, `all`. Of questions
    that are the same, that with the smallest id is kept, in whatever order they come.
    """
    mark = fingerprint(draft.context.fingerprint, draft.context.generator)
    verdicts: list[Verdict] = []
    episodes: list[Episode] = []
    evidence = {e.question_id: e for e in draft.evidence}
    for question in sorted(draft.questions, key=lambda q: q.question_id):
        found = evidence.get(question.question_id)
        check, reason = _first_failure(draft, question, found, seen)
        if reason:
            verdicts += [verdict(question, check, reason, mark), verdict(question, "all", check, mark)]
        elif found is not None:
            kept = episode(draft.context, question, found, mark)
            verdicts.append(verdict(question, "all", "", mark, kept.episode_id))
            episodes.append(kept)
    return Checked(draft=draft, verdicts=tuple(verdicts), episodes=tuple(episodes))


def verdict(question: Question, check: str, reason: str, mark: str, episode_id: str = "") -> Verdict:
    """What a check says of a question under the fingerprint `mark`: it passed unless there is a reason."""
    return Verdict(
        question_id=question.question_id,
        check_name=check,
        passed=not reason,
        reason=reason,
        fingerprint=mark,
        episode_id=episode_id,
    )


def _first_failure(draft: Draft, question: Question, evidence: Evidence | None, seen: set[str]) -> tuple[str, str]:
    if evidence is None:
        return "structure", "no evidence record"
    for name, check in CHECKS.items():
        reason = check(draft, question, evidence)
        if reason:
            return name, reason
    # Last, so that a question rejected for another reason does not shadow a good one.
    key = f"{question.context_id}{normalise(question.text)}"
    if key in seen:
        return "duplicate", "the context already has this question"
    seen.add(key)
    return "all", ""


def episode(context: Context, question: Question, evidence: Evidence, fingerprint: str) -> Episode:
    """The verified question as an episode."""
    content = {
        "context_id": context.context_id,
        "question_id": question.question_id,
        "evidence": list(evidence.indices),
    }
    return Episode(
        episode_id=content_id("ep", content),
        context_id=context.context_id,
        question_id=question.question_id,
        generator=question.generator,
        split=context.split,
        question_type=question.question_type,
        family=question.family,
        question=question.text,
        answer=question.answer,
        evidence=evidence.indices,
        segments=len(context.segments),
        fingerprint=fingerprint,
    )

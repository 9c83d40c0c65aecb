"""Verification: drafts of offline generators and questions of teachers put to the checks, and what is kept of them.

Out come verdicts, and an `Episode` for each question that passes all checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evoembedding.schemas.configs import TeachingConfig
from evoembedding.schemas.episode import Context, Draft, Episode, Evidence, Question, Verdict
from evoembedding.schemas.ids import content_id, digest
from evoembedding.schemas.made import Made
from evoembedding.synth.checks import CHECKS
from evoembedding.synth.checks.check import Case, Check
from evoembedding.synth.evidence import elected as by_votes
from evoembedding.synth.tables import tables
from evoembedding.synth.taxonomy import QUESTION_TYPES
from evoembedding.synth.teachers.asking import Asker, together
from evoembedding.synth.text import normalise

VERSION = "checks-4"  # raised by hand for a change of code that changes a verdict
TAUGHT = "verification-1"  # the same for checks of teachers' questions
DUPLICATE = "the context already has this question"
# What TAUGHT stands for. Fingerprints name these as they did when all of them were in two files.
_FIRST = {
    "synth.checks": ("structure", "evidence_in_range", "lengths", "context_dependent", "grounded"),
    "synth.verification": ("agreement", "evidence_only", "closed_book", "evidence_removed", "answering"),
}


def components() -> dict[str, str]:
    """What can change a verdict on a draft, by name."""
    return {"code": VERSION, "checks": _read()}


def taught_components() -> dict[str, Any]:
    """The same of a teacher's question, less what is asked of whom."""
    reading = [[name, f"synth.checks.{name}"] for name, check in CHECKS.items() if not check.measures]
    files = {f"synth.checks.{name}": "synth.verification" for name in _FIRST["synth.verification"]}
    more = [
        [name, check.version, check.threshold, tables(*_modules(check), but=("QUESTION_TYPES",))]
        for name, check in CHECKS.items()
        if check.measures and not any(name in first for first in _FIRST.values())
    ]
    measured = tables(files, but=("QUESTION_TYPES", "PROMPTS"), also={"synth.verification.FREE": reading})
    return {"code": f"{TAUGHT}, {VERSION}", "checks": [_read(), measured, *more]}


def _read() -> str:
    """A digest of what checks that read compare with: limits, which there are, and what types ask of an answer."""
    reading = [name for name, check in CHECKS.items() if check.reads]
    files = {f"synth.checks.{name}": "synth.checks" for name in _FIRST["synth.checks"]}
    files |= {of: of for name in reading if name not in _FIRST["synth.checks"] for of in _modules(CHECKS[name])}
    which = {"synth.checks.CHECKS": [[name, f"synth.checks.{name}{CHECKS[name].version}"] for name in reading]}
    types = [[kind.name, kind.choice, kind.derived_answer] for kind in QUESTION_TYPES.values()]
    return digest([tables({**files, "synth.text": "synth.text"}, but=("QUESTION_TYPES",), also=which), types], 10)


def _modules(check: Check) -> list[str]:
    """The files whose constants can bear on it."""
    return sorted({part.__module__ for part in (check.reads, check.measures, check.judges) if part})


def fingerprint(before: str, generator: str) -> str:
    """Identifies the verification of what the stage `before` drafted."""
    return digest({"stage": "verify", "generator": generator, "before": before, **components()}, 10)


def verify(draft: Draft, seen: set[str]) -> Made:
    """Check each question up to its first failure. `seen` holds the questions already kept, and grows.

    A rejected question has the verdict of the check that failed; every question has the last word, `all`. Of questions
    that are the same, that with the smallest id is kept, in whatever order they come.
    """
    stage = fingerprint(draft.context.fingerprint, draft.context.generator)
    verdicts: list[Verdict] = []
    episodes: list[Episode] = []
    evidence = {e.question_id: e for e in draft.evidence}
    for question in sorted(draft.questions, key=lambda q: q.question_id):
        found = evidence.get(question.question_id)
        check, reason = _first_failure(draft, question, found, seen)
        if reason:
            verdicts += [verdict(question, check, reason, stage), verdict(question, "all", check, stage)]
        elif found is not None:
            kept = episode(draft.context, question, found, stage)
            verdicts.append(verdict(question, "all", "", stage, kept.episode_id))
            episodes.append(kept)
    return Made(
        contexts=(draft.context,),
        questions=draft.questions,
        evidence=draft.evidence,
        verdicts=tuple(verdicts),
        episodes=tuple(episodes),
    )


async def verify_question(
    asker: Asker, config: TeachingConfig, context: Context, question: Question, evidence: Evidence, fingerprint: str
) -> tuple[Evidence, list[Verdict]]:
    """The evidence with enough votes, and the verdicts: those without a call first, the others if all of these pass.

    No check that measures waits for another one's verdict, so that every threshold can be moved later without a new
    call.

    Raises:
        NotAnsweredError: a check got no usable answer.
    """
    elected = by_votes(evidence, config.verify.min_votes)
    draft = Draft(context=context, questions=(question,), evidence=(elected,))
    verdicts = [
        verdict(question, name, check.reads(draft, question, elected), fingerprint)
        for name, check in CHECKS.items()
        if check.reads and not check.measures
    ]
    if not all(v.passed for v in verdicts):
        return elected, verdicts
    case = Case(asker, config, context, question, evidence, elected)
    measuring = [check for check in CHECKS.values() if check.measures]
    scores = await together([check.measures(case) for check in measuring if check.measures])
    for check, measured in zip(measuring, scores, strict=True):
        assert check.judges is not None
        reason = check.judges(measured.score, config.verify)
        verdicts.append(verdict(question, check.name, reason, fingerprint, score=measured.score, calls=measured.calls))
    return elected, verdicts


def verdict(
    question: Question,
    check: str,
    reason: str,
    fingerprint: str,
    episode_id: str = "",
    score: float | None = None,
    calls: Sequence[str] = (),
) -> Verdict:
    """What a check says of a question under a fingerprint: it passed unless there is a reason."""
    return Verdict(
        question_id=question.question_id,
        check_name=check,
        passed=not reason,
        reason=reason,
        fingerprint=fingerprint,
        episode_id=episode_id,
        score=score,
        calls=tuple(calls),
    )


def _first_failure(draft: Draft, question: Question, evidence: Evidence | None, seen: set[str]) -> tuple[str, str]:
    if evidence is None:
        return "structure", "no evidence record"
    for name, check in CHECKS.items():
        reason = check.reads(draft, question, evidence) if check.reads else ""
        if reason:
            return name, reason
    # Last, so that a question rejected for another reason does not shadow a good one.
    key = f"{question.context_id}{normalise(question.text)}"
    if key in seen:
        return "duplicate", DUPLICATE
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

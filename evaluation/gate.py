"""Judge a model by the rules of a gate: rows a question of two models come in, a judgement a rule goes out.

Nothing is stored here, and no model is known: `flows/gate.py` scores both on one benchmark and keeps what was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from evoembedding.evaluation.metrics import METRICS
from evoembedding.evaluation.paired import Estimate, estimate
from evoembedding.evaluation.score import ASKED, asked
from evoembedding.evaluation.slices import slices, types_of
from evoembedding.schemas.benchmark import Conversation
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.gate import TYPES, Direction, Gate, Judgement, Severity
from evoembedding.schemas.text import shown

VERSION = 1  # raise when the same scores are judged otherwise: gates that were judged before are then judged anew


class _Rule(NamedTuple):
    """A rule, or a guard of one slice, with the level that it is judged at."""

    metric: str
    question_slice: str
    direction: Direction
    threshold: float
    severity: Severity
    level: float


def judge(
    gate: Gate, model: pl.DataFrame, baseline: pl.DataFrame | None, groups: Mapping[str, Sequence[str]]
) -> list[Judgement]:
    """A judgement a rule, then one a guarded slice. The frames are those of `score`, of the same questions.

    Without a baseline, only `at_least` can be judged.

    Raises:
        EvoError: a rule names a metric or slice that was not measured, or there is nothing to judge.
        ValueError: the frames are not of the same questions.
    """
    if baseline is not None and not model.select(*ASKED).equals(baseline.select(*ASKED)):
        raise ValueError("the two models were not asked the same questions in the same order")
    # Rows are known by their place, at which the baseline has the same question.
    parts = slices(model.with_row_index("row"), groups)
    return [_judged(rule, gate, parts, baseline) for rule in _rules(gate, parts)]


def check(gate: Gate, conversations: Sequence[Conversation], groups: Mapping[str, Sequence[str]]) -> None:
    """See that all that a gate asks for will be measured on a benchmark, before a model is scored on it.

    Raises:
        EvoError: it will not.
    """
    rows = [asked(conversation, query) for conversation in conversations for query in conversation.queries]
    _rules(gate, slices(pl.DataFrame(rows, schema=ASKED), groups))


def _rules(gate: Gate, parts: Mapping[str, pl.DataFrame]) -> list[_Rule]:
    rules = [_Rule(r.metric, r.question_slice, *r.asked, r.severity, gate.level) for r in gate.rules]
    for guard in gate.guards:
        names: list[str] = []
        # A type with too few questions takes no share of the level from those that can be judged.
        for name in guard.slices:
            names += [t for t in types_of(parts["all"]) if _enough(gate, parts[t])] if name == TYPES else [name]
        names = list(dict.fromkeys(names))
        rules += [
            # The level is shared: the more slices are looked at, the more of them lose by chance alone.
            _Rule(guard.metric, name, "may_lose", guard.may_lose, guard.severity, gate.level / len(names))
            for name in names
        ]
    if not rules:
        raise EvoError(
            f"no question type has {gate.min_questions} questions in {gate.min_conversations} conversations, and the "
            "gate guards nothing else; nothing was judged; give it a rule, or lower the counts"
        )
    for rule in rules:
        if rule.metric not in METRICS:
            raise _unmeasured("metric", rule.metric, METRICS)
        if rule.question_slice not in parts:
            raise _unmeasured("slice", rule.question_slice, parts)
    return rules


def _judged(rule: _Rule, gate: Gate, parts: Mapping[str, pl.DataFrame], baseline: pl.DataFrame | None) -> Judgement:
    part = parts[rule.question_slice]
    scores, clusters = part[rule.metric], part["conversation_id"].to_list()
    beside = None if baseline is None else baseline[rule.metric].gather(part["row"])
    found, passed = None, None
    if not _enough(gate, part):
        reason = (
            f"it has {len(part)} questions in {part['conversation_id'].n_unique()} conversations, and "
            f"{gate.min_questions} in {gate.min_conversations} are needed to judge"
        )
    elif rule.direction != "at_least" and beside is None:
        reason = "there is no model to compare with"
    else:
        judged = scores if rule.direction == "at_least" or beside is None else scores - beside
        found = estimate(judged.to_list(), clusters, rule.level)
        passed, reason = _held(rule, found)
    return Judgement(
        metric=rule.metric,
        question_slice=rule.question_slice,
        direction=rule.direction,
        threshold=rule.threshold,
        value=_mean(scores),
        baseline_value=None if beside is None else _mean(beside),
        low=found and found.low,
        high=found and found.high,
        questions=len(part),
        conversations=part["conversation_id"].n_unique(),
        severity=rule.severity,
        passed=passed,
        reason=reason,
    )


def _held(rule: _Rule, found: Estimate) -> tuple[bool, str]:
    """Whether a rule holds, and in words what speaks for it or against."""
    at, low, high = rule.threshold, found.low, found.high
    if rule.direction == "at_least":
        return low >= at, f"it is {low:.3f} or more, and {at:g} is asked for"
    if rule.direction == "better_than":
        return low > at, f"it is better by {low:+.3f} or more, and more than {at:g} is asked for"
    if rule.direction == "not_worse_than":
        worse = max(0.0, -low)
        return low >= -at, f"it is worse by {worse:.3f} at most, and no more than {at:g} is allowed"
    # By the other end than the rules above: a guard refuses a loss that is shown, they ask that none is.
    lost = max(0.0, -high)
    return high >= -at, f"it has lost {lost:.3f} or more, and no more than {at:g} is allowed"


def _enough(gate: Gate, part: pl.DataFrame) -> bool:
    return len(part) >= gate.min_questions and part["conversation_id"].n_unique() >= gate.min_conversations


def _mean(scores: pl.Series) -> float:
    return float(sum(scores) / len(scores))


def _unmeasured(what: str, name: str, known: Mapping[str, object]) -> EvoError:
    return EvoError(
        f"the gate has a rule on {what} '{shown(name, 80)}', which was not measured; nothing was judged; on this "
        f"benchmark there are: {', '.join(known)}"
    )

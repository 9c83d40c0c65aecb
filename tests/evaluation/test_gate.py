"""Gates on constructed scores: what each rule lets through, and what cannot be judged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from evoembedding.evaluation.gate import judge
from evoembedding.evaluation.metrics import METRICS
from evoembedding.evaluation.slices import slices
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.gate import Gate, GateRule, Guard, Judgement, outcome

TYPES = ("latest", "first", "count", "rare")
GROUPS = {"state": ("latest", "first"), "absent": ("none",)}
METRIC = "Recall@1"
ENOUGH = {"min_questions": 30, "min_conversations": 5}


def scores(right: dict[str, float], seed: int = 0, conversations: int = 120) -> pl.DataFrame:
    """Five questions a conversation of 14 or 20 segments, of the first three types, and of `rare` in the first two:
    each is right with its type's chance. The same seed gives the same questions right at the same chances.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(conversations):
        for k in range(5):
            kind = "rare" if n < 2 and k == 4 else TYPES[(n + k) % 3]
            score = float(rng.random() < right.get(kind, 0.6))
            asked = {"conversation_id": f"c{n:03d}", "segments": (14, 20)[n % 2], "question_type": kind}
            own = ["licence:MIT", "source:notes"] if n % 3 == 0 else ["licence:CC0"] if n % 3 == 1 else []
            rows.append({**asked, "slices": own, **dict.fromkeys(METRICS, score)})
    return pl.DataFrame(rows)


def one_rule(rule: GateRule, model: pl.DataFrame, baseline: pl.DataFrame | None, level: float = 0.05) -> Judgement:
    (judged,) = judge(Gate(rules=(rule,), guards=(), level=level, **ENOUGH), model, baseline, GROUPS)
    return judged


EQUAL, BETTER, WORSE = scores({}), scores(dict.fromkeys(TYPES, 0.72)), scores(dict.fromkeys(TYPES, 0.48))


@pytest.mark.parametrize(
    ("asked", "passes"),
    [
        ({"better_than": 0.0}, {"equal": False, "better": True, "worse": False}),
        ({"better_than": 0.11}, {"equal": False, "better": False, "worse": False}),
        ({"not_worse_than": 0.0}, {"equal": True, "better": True, "worse": False}),
        ({"not_worse_than": 0.2}, {"equal": True, "better": True, "worse": True}),
        ({"at_least": 0.5}, {"equal": True, "better": True, "worse": False}),
        ({"at_least": 0.65}, {"equal": False, "better": True, "worse": False}),
    ],
)
def test_rules_let_through_what_is_shown(asked: dict[str, float], passes: dict[str, bool]) -> None:
    for name, model in (("equal", EQUAL), ("better", BETTER), ("worse", WORSE)):
        judged = one_rule(GateRule(metric=METRIC, **asked), model, EQUAL)
        assert judged.passed == passes[name], judged
        assert (judged.questions, judged.conversations) == (600, 120)
        assert judged.value == pytest.approx(model[METRIC].mean())
        assert judged.baseline_value == pytest.approx(EQUAL[METRIC].mean())
        assert judged.low is not None
        assert judged.high is not None
        assert judged.low <= judged.high


def test_at_least_is_judged_by_the_lower_end_and_at_half_by_the_score() -> None:
    mean = float(EQUAL[METRIC].mean())  # type: ignore[arg-type]
    rule = GateRule(metric=METRIC, at_least=mean - 0.01)
    assert one_rule(rule, EQUAL, None).passed is False
    assert one_rule(rule, EQUAL, None, level=0.5).passed is True


def test_a_gain_overall_with_a_guarded_slice_lost_is_refused() -> None:
    model = scores({"latest": 0.75, "first": 0.75, "count": 0.4})
    gate = Gate(rules=(GateRule(metric=METRIC, better_than=0.0),), guards=(Guard(metric=METRIC),), **ENOUGH)
    judged = judge(gate, model, EQUAL, GROUPS)
    assert [(one.direction, one.question_slice, one.passed) for one in judged] == [
        ("better_than", "all", True),
        ("may_lose", "count", False),
        ("may_lose", "first", True),
        ("may_lose", "latest", True),
    ]
    assert outcome(judged, compared=True) == "refused"
    assert "lost" in judged[1].reason
    warned = gate.replace(guards=(Guard(metric=METRIC, severity="warn"),))
    assert outcome(judge(warned, model, EQUAL, GROUPS), compared=True) == "blessed"
    looser = gate.replace(guards=(Guard(metric=METRIC, slices=("count",), may_lose=0.3),))
    assert outcome(judge(looser, model, EQUAL, GROUPS), compared=True) == "blessed"


def test_guards_share_their_level_and_refuse_few_equals() -> None:
    gate = Gate(rules=(), guards=(Guard(metric=METRIC),), **ENOUGH)
    refused = [
        outcome(judge(gate, scores({}, seed), scores({}, 1000 + seed), GROUPS), compared=True) for seed in range(40)
    ].count("refused")
    assert refused <= 6


def test_a_slice_with_too_few_questions_is_not_judged_and_says_so() -> None:
    rare = GateRule(metric=METRIC, not_worse_than=0.5, question_slice="rare")
    judged = one_rule(rare, BETTER, EQUAL)
    assert (judged.passed, judged.low, judged.high, judged.questions) == (None, None, None, 2)
    assert "2 questions in 2 conversations, and 30 in 5" in judged.reason
    assert outcome([judged], compared=True) == "unjudged"
    passed, failed = (one_rule(GateRule(metric=METRIC, better_than=0.0), m, EQUAL) for m in (BETTER, WORSE))
    assert outcome([passed, judged], compared=True) == "unjudged"
    assert outcome([failed, judged], compared=True) == "refused"
    assert outcome([passed, judged.replace(severity="warn")], compared=True) == "blessed"
    few = scores({}, conversations=4)
    assert one_rule(GateRule(metric=METRIC, at_least=0.0), few, None).passed is None


def test_the_first_of_its_name_is_held_to_at_least_alone() -> None:
    gate = Gate(rules=(GateRule(metric=METRIC, better_than=0.0), GateRule(metric=METRIC, at_least=0.5)), **ENOUGH)
    for model, follows in ((BETTER, "blessed"), (WORSE, "refused")):
        judged = judge(gate, model, None, GROUPS)
        assert judged[0].passed is None
        assert judged[0].reason == "there is no model to compare with"
        assert outcome(judged, compared=False) == follows
    assert outcome(judge(Gate(**ENOUGH), WORSE, None, GROUPS), compared=False) == "blessed"


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (GateRule(metric="Hit@3", better_than=0.0), "metric 'Hit@3', which was not measured"),
        (GateRule(better_than=0.0, question_slice="lastest"), "slice 'lastest', which was not measured"),
    ],
)
def test_what_was_not_measured_is_one_sentence_with_what_was(rule: GateRule, says: str) -> None:
    with pytest.raises(EvoError, match=says) as told:
        judge(Gate(rules=(rule,)), EQUAL, EQUAL, GROUPS)
    assert ("MRR" if "metric" in says else "latest") in str(told.value)


def test_a_gate_that_guards_nothing_is_no_gate() -> None:
    with pytest.raises(EvoError, match="no question type has 300 questions in 5 conversations"):
        judge(Gate(rules=(), min_questions=300), EQUAL, EQUAL, GROUPS)


def test_slices_are_types_groups_lengths_and_what_conversations_say() -> None:
    parts = slices(EQUAL, GROUPS)
    own = {"licence:MIT", "licence:CC0", "source:notes"}
    assert set(parts) == {"all", "state", *TYPES, "length:9-16", "length:17-32", *own}
    assert len(parts["licence:MIT"]) == len(parts["source:notes"]) == len(parts["licence:CC0"]) == len(EQUAL) / 3
    assert len(parts["state"]) == len(parts["latest"]) + len(parts["first"])
    assert len(parts["length:9-16"]) + len(parts["length:17-32"]) == len(parts["all"])
    lengths = pl.DataFrame({"segments": [1, 2, 16, 17, 64], "question_type": list("aaaaa"), "slices": [[]] * 5})
    assert [name for name in slices(lengths, {}) if name.startswith("length")] == [
        "length:1-1",
        "length:2-2",
        "length:9-16",
        "length:17-32",
        "length:33-64",
    ]


@pytest.mark.parametrize("fields", [{}, {"at_least": 0.5, "better_than": 0.0}, {"at_least": 1.5}])
def test_a_rule_asks_one_thing(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        GateRule(**fields)  # type: ignore[arg-type]


def test_a_gate_asks_something() -> None:
    with pytest.raises(ValidationError):
        Gate(rules=(), guards=())


@pytest.mark.parametrize("order", [(1, 0), (0,)])
def test_two_models_that_were_asked_other_questions_are_not_compared(order: Sequence[int]) -> None:
    with pytest.raises(ValueError, match="same questions"):
        judge(Gate(), EQUAL, EQUAL[list(order)], GROUPS)

"""A gate: by what rules a model is let through, and what is said of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from evoembedding.schemas.episode import Record
from evoembedding.schemas.identity import Born, Config

Severity = Literal["error", "warn"]
Direction = Literal["at_least", "better_than", "not_worse_than", "may_lose"]
TYPES = "types"  # of slices: every question type that has enough questions
SLICES = "`all`, a question type or group of them, `length:17-32`, or of own questions `licence:MIT` and `source:notes`"


class GateRule(Config):
    """What must be shown of a metric: one of `at_least`, `better_than` and `not_worse_than`.

    It is shown where it holds at the end of the interval that speaks against it. So an equal model passes
    `not_worse_than` where the margin is wider than the noise, and `better_than(0)` once in twenty times.
    """

    metric: str = Field("nDCG@10", description="Recall@1, Recall@5, Recall@10, nDCG@10 or MRR.")
    at_least: float | None = Field(None, ge=0, le=1, description="The score is this or more, whatever others have.")
    better_than: float | None = Field(None, ge=0, le=1, description="It is better than the baseline by more than this.")
    not_worse_than: float | None = Field(
        None, ge=0, le=1, description="It is worse than the baseline by no more than this."
    )
    question_slice: str = Field("all", description=f"{SLICES}.")
    severity: Literal["error", "warn"] = Field("error", description="`warn`: told, and no reason to refuse.")

    @property
    def asked(self) -> tuple[Direction, float]:
        """Which of the three it is, and its value."""
        for direction in ("at_least", "better_than", "not_worse_than"):
            if (value := getattr(self, direction)) is not None:
                return direction, value
        raise AssertionError("a rule has one of them")

    @model_validator(mode="after")
    def _asks_one_thing(self) -> GateRule:
        given = [one for one in ("at_least", "better_than", "not_worse_than") if getattr(self, one) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a rule has one of at_least, better_than and not_worse_than; this one has {', '.join(given) or 'none'}"
            )
        return self


class Guard(Config):
    """Slices that must not regress: a loss is refused where it is shown.

    That is the other burden of proof than a rule's: on a slice of few questions, no model could show that it lost
    nothing. The level is shared by the slices, so that an equal model is refused by all of them together in at most
    that share of cases.
    """

    metric: str = Field("nDCG@10", description="As a rule's.")
    slices: tuple[str, ...] = Field(
        (TYPES,), min_length=1, description=f"Each {SLICES}; `{TYPES}`: every question type with enough questions."
    )
    may_lose: float = Field(0.0, ge=0, le=1, description="What a slice may lose; more is refused where it is shown.")
    severity: Literal["error", "warn"] = Field("error", description="As a rule's.")


class Gate(Config):
    """What a model has to show before it becomes the champion of its name, on the benchmark that it is judged on."""

    rules: tuple[GateRule, ...] = Field(
        (GateRule(not_worse_than=0.03),), description="All have to hold; one of severity `warn` is told alone."
    )
    guards: tuple[Guard, ...] = Field((Guard(),), description="Slices that must not regress.")
    level: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="One-sided level of every rule and of each guard; 0.5 judges by what was scored.",
    )
    min_questions: int = Field(30, ge=1, description="A slice with fewer is not judged.")
    min_conversations: int = Field(5, ge=2, description="A slice in fewer is not judged.")
    benchmark: Annotated[str, Born("heldout")] = Field(
        "own",
        description="The benchmark that both models are scored on; `own`: what the model's version holds out of "
        "documents, or where that is less than may be judged, the held-out worlds.",
    )
    path: str = Field("", description="Its file, where it has one.")
    approval: Annotated[bool, Born(False)] = Field(
        False, description="What it blesses is promoted by `evo retrain` when a person has approved."
    )

    @model_validator(mode="after")
    def _judges(self) -> Gate:
        if not self.rules and not self.guards:
            raise ValueError("a gate without a rule and without a guard lets everything through; give it one")
        return self


class Judgement(Record):
    """What was found under one rule of a gate; `passed` is None where it could not be judged."""

    metric: str
    question_slice: str
    direction: Direction
    threshold: float
    value: float | None  # the model's score; None where nothing could be measured
    baseline_value: float | None
    low: float | None  # ends of the interval of what was judged: the score, or its difference from the baseline's
    high: float | None
    questions: int
    conversations: int
    severity: Severity
    passed: bool | None
    reason: str


Outcome = Literal["blessed", "refused", "unjudged"]


def outcome(judgements: Sequence[Judgement], compared: bool) -> Outcome:
    """What follows for the model: `refused` where a rule of severity `error` failed, `unjudged` where none did and one
    could not be judged. Where it was `compared` with nothing, rules that compare are passed over.
    """
    heard = [one for one in judgements if one.severity == "error" and (compared or one.direction == "at_least")]
    if any(one.passed is False for one in heard):
        return "refused"
    return "unjudged" if any(one.passed is None for one in heard) else "blessed"

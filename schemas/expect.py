"""What is expected of a dataset version before anything is trained on it, and what is said of each expectation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from evoembedding.schemas.episode import Record
from evoembedding.schemas.gate import Severity
from evoembedding.schemas.identity import Config
from evoembedding.schemas.text import clean

Measure = Literal[
    "episodes", "yield", "left_out", "segments", "tokens", "types", "families", "generators", "kinds", "licences"
]
Bound = Literal["at_least", "at_most", "only", "drift_at_most"]
Part = Annotated[str, Field(max_length=200), AfterValidator(clean)]
BOUNDS: tuple[Bound, ...] = ("at_least", "at_most", "only", "drift_at_most")
SHARES = ("yield", "left_out")
MIXES = ("types", "families", "generators", "kinds", "licences")
# What is measured where an expectation names no part; of a mix, that is the whole of it.
PARTS = {"yield": "all", "left_out": "near_duplicate", "segments": "mean", "tokens": "mean"}
KNOWN_PARTS: dict[str, tuple[str, ...]] = {
    "episodes": ("",),
    "left_out": ("near_duplicate", "contaminated", "leaked", "held_out"),
    "segments": ("mean", "min", "max"),
    "tokens": ("mean", "min", "max"),
}


class Expectation(Config):
    """What a version is to be: one of `at_least`, `at_most`, `only` and `drift_at_most`, of one measure.

    Drift is the distance from the version before: of a whole mix the total variation distance, of a share the
    difference, of a number the difference as a share of what it was.
    """

    measure: Measure = Field(
        description="`episodes`: how many. `yield`: of what a check judged, the share that passed. `left_out`: of what "
        "passed, the share that curation leaves out. `segments`, `tokens`: of a context. `types`, `families`, "
        "`generators`: shares of the episodes; `kinds`: of the contexts; `licences`: of the documents."
    )
    part: Part = Field(
        "",
        description="Of `yield` a check, by default `all` of them; of `left_out` `near_duplicate` (the default), "
        "`contaminated`, `leaked` or `held_out`; of `segments` and `tokens` `mean` (the default), `min` or `max`; of a "
        "mix what it is a share of: a question type, a generator, a licence or `unknown`.",
    )
    at_least: float | None = Field(None, ge=0, allow_inf_nan=False, description="It is this or more.")
    at_most: float | None = Field(None, ge=0, allow_inf_nan=False, description="It is this or less.")
    only: tuple[Part, ...] | None = Field(None, min_length=1, description="A mix holds nothing else.")
    drift_at_most: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="It is no further than this from the version before."
    )
    severity: Literal["error", "warn"] = Field(
        "error", description="`warn`: told, and no reason to keep the version as a draft."
    )

    @property
    def of(self) -> str:
        """The part that is measured; '' for all of it."""
        return self.part or PARTS.get(self.measure, "")

    @property
    def asked(self) -> tuple[Bound, float]:
        """Which of the four it is, and its bound: of `only`, the share that others may have."""
        for direction in BOUNDS:
            value = getattr(self, direction)
            if value is not None:
                return direction, 0.0 if direction == "only" else value
        raise AssertionError("an expectation has one of them")

    @property
    def what(self) -> str:
        """What it is about, in words."""
        return f"{self.measure} '{self.of}'" if self.of else self.measure

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Expectation:
        given = [one for one in BOUNDS if getattr(self, one) is not None]
        if len(given) != 1:
            raise ValueError(
                f"an expectation has one of {', '.join(BOUNDS)}; this one has {', '.join(given) or 'none'}"
            )
        mix = self.measure in MIXES
        if self.only is not None and (self.part or not mix):
            raise ValueError(f"only is asked of a whole mix: {', '.join(MIXES)}, without a part")
        if mix and not self.part and given[0] in ("at_least", "at_most"):
            raise ValueError(f"{given[0]} of {self.measure} needs a part: what it is the share of")
        known = KNOWN_PARTS.get(self.measure)
        if known and self.of not in known:
            parts = f"the parts {', '.join(known)}" if any(known) else "no parts"
            raise ValueError(f"{self.measure} has {parts}; this expectation has another")
        bound = self.asked[1]
        if (mix or self.measure in SHARES) and bound > 1:
            raise ValueError(f"{given[0]} {bound:g} of {self.measure} is no share: it lies between 0 and 1")
        return self


class Expect(Config):
    """What a version has to be before anything is trained on it; one that is not is published as a draft."""

    rules: tuple[Expectation, ...] = Field((), description="All have to hold; one of severity `warn` is told alone.")

    @model_validator(mode="after")
    def _can_hold(self) -> Expect:
        least: dict[tuple[str, str], float] = {}
        for one in self.rules:
            if one.at_least is not None:
                key = one.measure, one.of
                least[key] = max(one.at_least, least.get(key, 0.0))
        for one in self.rules:
            low = least.get((one.measure, one.of), 0.0)
            if one.at_most is not None and low > one.at_most:
                raise ValueError(
                    f"{one.what} cannot be {low:g} or more and {one.at_most:g} or less: nothing would pass"
                )
            for (measure, part), low in least.items():
                if one.only is not None and one.measure == measure and low > 0 and part not in one.only:
                    raise ValueError(
                        f"{measure} cannot hold {low:g} or more of what only leaves out: nothing would pass"
                    )
        for mix in MIXES:
            total = sum(low for (measure, _), low in least.items() if measure == mix)
            if total > 1 + 1e-9:
                raise ValueError(f"the shares of {mix} that are asked for come to {total:g}: nothing would pass")
        return self


class Profile(Record):
    """What is measured of a version: numbers and shares by measure and part. What is not known is not there."""

    numbers: dict[str, dict[str, float]]
    mixes: dict[str, dict[str, float]]

    def value(self, measure: str, part: str) -> float | None:
        """A number, or the share of a part; 0 of a mix that has none of it, None where it was not measured."""
        if measure in MIXES:
            mix = self.mixes.get(measure)
            return mix.get(part, 0.0) if mix else None
        return self.numbers.get(measure, {}).get(part)


class Found(Record):
    """What was found under an expectation; `passed` is None where it could not be judged."""

    measure: Measure
    part: str
    direction: Bound
    threshold: float
    value: float | None  # of `only`, the share of others; of a whole mix, None
    parent_value: float | None  # the same of the version before
    drift: float | None
    severity: Severity
    passed: bool | None
    reason: str


def draft(found: Sequence[Found]) -> bool:
    """Whether what was found makes a version a draft: an expectation of severity `error` does not hold."""
    return any(one.severity == "error" and one.passed is False for one in found)

"""Expectations as they are written: each asks one thing, and what nothing could pass is a mistake."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from evoembedding.flows.recipes import RECIPES, changed
from evoembedding.schemas.errors import EvoError, first_fault
from evoembedding.schemas.expect import Expect, Expectation


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"measure": "episodes"}, "this one has none"),
        ({"measure": "episodes", "at_least": 1, "at_most": 2}, "this one has at_least, at_most"),
        ({"measure": "episodes", "part": "all", "at_least": 1}, "episodes has no parts"),
        ({"measure": "types", "at_least": 0.1}, "at_least of types needs a part"),
        ({"measure": "types", "part": "latest", "at_least": 1.5}, "at_least 1.5 of types is no share"),
        ({"measure": "yield", "drift_at_most": 2}, "drift_at_most 2 of yield is no share"),
        (
            {"measure": "left_out", "part": "typo", "at_most": 0.1},
            "left_out has the parts near_duplicate, contaminated",
        ),
        ({"measure": "segments", "part": "median", "at_most": 9}, "segments has the parts mean, min, max"),
        ({"measure": "segments", "only": ["x"]}, "only is asked of a whole mix"),
        ({"measure": "licences", "part": "CC0", "only": ["CC0"]}, "only is asked of a whole mix"),
        ({"measure": "licences", "only": []}, "only"),
        ({"measure": "tokens", "at_least": float("nan")}, "finite number"),
        ({"measure": "tokens", "at_most": float("inf")}, "finite number"),
        ({"measure": "tokens", "at_most": -1}, "greater than or equal to 0"),
        ({"measure": "tokens'; drop table episodes; --", "at_most": 1}, "Input should be"),
        ({"measure": "types", "part": "x" * 300, "at_most": 1}, "at most 200"),
        ({"measure": "types", "part": "a\0b", "at_most": 1}, "it holds a NUL character"),
        ({"measure": "licences", "only": ["\ud800"]}, "only.0: Input should be a valid string"),
        ({"measure": "episodes", "at_least": 1, "severity": "fatal"}, "severity"),
        ({"measure": "languages", "at_least": 1}, "Input should be"),
    ],
)
def test_what_is_no_expectation_is_told_in_one_sentence(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Expectation.model_validate(settings)
    told = first_fault(caught.value)
    assert says in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (
            [
                {"measure": "types", "part": "latest", "at_least": 0.5},
                {"measure": "types", "part": "latest", "at_most": 0.4},
            ],
            "types 'latest' cannot be 0.5 or more and 0.4 or less: nothing would pass",
        ),
        (
            [
                {"measure": "tokens", "at_most": 5},
                {"measure": "tokens", "part": "mean", "at_least": 6, "severity": "warn"},
            ],
            "tokens 'mean' cannot be 6 or more and 5 or less",
        ),
        (
            [
                {"measure": "kinds", "part": "web", "at_least": 0.7},
                {"measure": "kinds", "part": "dialogue", "at_least": 0.7},
            ],
            "the shares of kinds that are asked for come to 1.4: nothing would pass",
        ),
        (
            [{"measure": "licences", "part": "GPL", "at_least": 0.1}, {"measure": "licences", "only": ["CC0"]}],
            "licences cannot hold 0.1 or more of what only leaves out",
        ),
    ],
)
def test_bounds_that_contradict_each_other(rules: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Expect.model_validate({"rules": rules})
    assert says in first_fault(caught.value)
    with pytest.raises(EvoError, match="nothing was run"):
        changed(RECIPES["smallest"](), expect={"rules": rules})


def test_a_range_and_a_warning_within_it_are_no_contradiction() -> None:
    rules = [
        {"measure": "types", "part": "latest", "at_least": 0.2},
        {"measure": "types", "part": "latest", "at_least": 0.3, "severity": "warn"},
        {"measure": "types", "part": "latest", "at_most": 0.3},
    ]
    assert len(Expect.model_validate({"rules": rules}).rules) == 3

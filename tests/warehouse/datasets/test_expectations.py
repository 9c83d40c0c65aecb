"""Each bound alone, on constructed profiles; and drift from the version before."""

from __future__ import annotations

from typing import Any

import pytest

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.expect import Expectation, Found, Profile, draft
from evoembedding.warehouse.datasets.expectations import found

NUMBERS = {
    "episodes": {"": 300.0},
    "yield": {"all": 0.6, "unique": 0.9},
    "left_out": {"near_duplicate": 0.05, "contaminated": 0.0},
    "segments": {"mean": 12.0, "min": 4.0, "max": 40.0},
    "tokens": {"mean": 700.0, "min": 90.0, "max": 2500.0},
}
MIXES = {
    "types": {"latest": 0.5, "first": 0.3, "count": 0.2},
    "families": {"state": 1.0},
    "generators": {"simulator": 0.75, "cloze": 0.25},
    "kinds": {"dialogue": 0.75, "web": 0.25},
    "licences": {"CC0": 0.6, "unknown": 0.3, "GPL\n\x1b[2J": 0.1},
}
PROFILE = Profile(numbers=NUMBERS, mixes=MIXES)
BEFORE = Profile(
    numbers={
        **NUMBERS,
        "episodes": {"": 200.0},
        "yield": {"all": 0.8},
        "segments": {"mean": 10.0, "min": 0.0, "max": 40.0},
    },
    mixes={**MIXES, "types": {"latest": 0.5, "first": 0.5}, "licences": {}},
)


def under(settings: dict[str, Any], parent: Profile | None = None) -> Found:
    return found(Expectation.model_validate(settings), PROFILE, parent)


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"measure": "episodes"}, 300),
        ({"measure": "yield"}, 0.6),
        ({"measure": "yield", "part": "unique"}, 0.9),
        ({"measure": "left_out"}, 0.05),
        ({"measure": "segments"}, 12),
        ({"measure": "segments", "part": "max"}, 40),
        ({"measure": "tokens", "part": "min"}, 90),
        ({"measure": "types", "part": "first"}, 0.3),
        ({"measure": "families", "part": "state"}, 1),
        ({"measure": "generators", "part": "cloze"}, 0.25),
        ({"measure": "kinds", "part": "web"}, 0.25),
        ({"measure": "licences", "part": "unknown"}, 0.3),
    ],
)
def test_each_measure_is_held_against_both_bounds(settings: dict[str, Any], value: float) -> None:
    for direction, other in (("at_least", 1.01), ("at_most", 0.99)):
        holds = under({**settings, direction: value})
        assert (holds.value, holds.passed) == (value, True), "a bound itself is within it"
        if value * other <= 1 or value > 1:
            fails = under({**settings, direction: value * other})
            assert fails.passed is False
            assert f"it is {value:g}, and {value * other:g} or " in fails.reason


@pytest.mark.parametrize(
    ("settings", "drift"),
    [
        ({"measure": "episodes"}, 0.5),
        ({"measure": "yield"}, 0.2),
        ({"measure": "segments"}, 0.2),
        ({"measure": "segments", "part": "max"}, 0),
        ({"measure": "types"}, 0.2),
        ({"measure": "types", "part": "first"}, 0.2),
        ({"measure": "types", "part": "latest"}, 0),
        ({"measure": "generators"}, 0),
        ({"measure": "licences"}, 1),
    ],
)
def test_drift_is_the_distance_from_the_version_before(settings: dict[str, Any], drift: float) -> None:
    one = under({**settings, "drift_at_most": 0.15}, BEFORE)
    assert one.drift == pytest.approx(drift)
    assert one.passed is (drift < 0.15)


def test_drift_of_a_mix_names_what_moved() -> None:
    one = under({"measure": "types", "drift_at_most": 0.1}, BEFORE)
    assert one.reason == (
        "it is 0.2 from the version before (count 0 to 0.2, first 0.5 to 0.3, latest 0.5 to 0.5), and 0.1 is allowed"
    )
    assert (one.value, one.parent_value) == (None, None)


@pytest.mark.parametrize(
    ("settings", "parent", "why"),
    [
        ({"measure": "types", "drift_at_most": 0.1}, None, "there is no version before it to compare with"),
        ({"measure": "yield", "part": "unique", "drift_at_most": 0.1}, BEFORE, "it is not known of both versions"),
        ({"measure": "segments", "part": "min", "drift_at_most": 0.1}, BEFORE, "it is not known of both versions"),
    ],
)
def test_what_cannot_be_compared_is_not_judged_and_makes_no_draft(
    settings: dict[str, Any], parent: Profile | None, why: str
) -> None:
    one = under(settings, parent)
    assert (one.passed, one.reason) == (None, why)
    assert not draft([one])


def test_licences_that_are_allowed() -> None:
    one = under({"measure": "licences", "only": ["CC0", "unknown"]})
    assert (one.passed, one.value) == (False, pytest.approx(0.1))
    assert one.reason == "0.1 of it is 'GPL \\x1b[2J', which is not allowed"
    assert under({"measure": "licences", "only": ["CC0", "unknown", "GPL\n\x1b[2J", "MIT"]}).passed is True
    bare = Profile(numbers={**NUMBERS, "left_out": {}}, mixes={**MIXES, "licences": {}})
    for settings in ({"measure": "licences", "only": ["CC0"]}, {"measure": "left_out", "at_most": 0.1}):
        assert found(Expectation.model_validate(settings), bare, None).passed is None


def test_a_part_that_a_mix_lacks_has_no_share() -> None:
    assert under({"measure": "types", "part": "cancellation", "at_least": 0.1}).passed is False
    assert under({"measure": "types", "part": "cancellation", "at_most": 0.1}).passed is True


def test_a_check_that_no_question_was_put_to() -> None:
    with pytest.raises(EvoError, match="check 'groundd', which no question was put to; nothing was published") as told:
        under({"measure": "yield", "part": "groundd", "at_least": 0.5})
    assert "the checks are: all, unique" in str(told.value)


def test_only_an_error_makes_a_draft() -> None:
    for severity in ("error", "warn"):
        one = under({"measure": "episodes", "at_least": 1000, "severity": severity})
        assert one.passed is False
        assert draft([one]) is (severity == "error")

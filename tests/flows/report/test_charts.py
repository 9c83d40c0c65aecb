"""Charts: round ticks, curves thinned without losing their extremes, the same bytes for the same numbers."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoembedding.flows.report.charts import Bin, Mark, counted, curve, curves, histogram, lines, number, thinned, ticks

SVG = "{http://www.w3.org/2000/svg}"
finite = st.floats(-1e12, 1e12, allow_subnormal=False)


def parsed(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(str(picture).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (12_345, "12.3 K"),
        (1_234_567, "1.23 M"),
        (2.5e9, "2.5 G"),
        (15.59, "15.6"),
        (0.001, "0.001"),
        (0.00025, "2.5e-4"),
        (5e-5, "5e-5"),
        (-3.14159, "-3.14"),
        (math.inf, "inf"),
    ],
)
def test_numbers_as_people_read_them(value: float, shown: str) -> None:
    assert number(value) == shown


def test_one_of_a_thing_is_no_plural() -> None:
    assert [counted(n, "episode") for n in (0, 1, 1204)] == ["0 episodes", "1 episode", "1,204 episodes"]


@given(finite, finite, st.integers(1, 8), st.booleans())
def test_ticks_lie_evenly_within_the_range(one: float, other: float, most: int, whole: bool) -> None:
    low, high = sorted((one, other))
    found = ticks(low, high, most, whole)
    span = high - low
    assert len(found) <= most + 1
    assert all(low - span * 1e-6 <= tick <= high + span * 1e-6 for tick in found)
    steps = [b - a for a, b in pairwise(found)]
    assert all(step == pytest.approx(steps[0], rel=1e-6) for step in steps)
    if whole and low < high:
        assert all(tick == int(tick) for tick in found)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=300), st.integers(1, 50))
def test_a_thinned_curve_keeps_the_extremes_and_the_last_step(values: list[float], most: int) -> None:
    points = thinned(range(len(values)), values, most)
    kept = [v for v in values if math.isfinite(v)]
    assert len(points) <= most
    assert bool(points) == bool(kept)
    if kept:
        assert min(p.low for p in points) == min(kept)
        assert max(p.high for p in points) == max(kept)
        assert points[-1].step == max(n for n, v in enumerate(values) if math.isfinite(v))


def test_curves_take_what_is_a_number() -> None:
    rows = [
        {"step": 1, "loss": 2.0, "tokens": 100, "seconds": 2.0, "note": "warm", "done": True},
        {"step": 2, "loss": None, "tokens": 300, "seconds": 0},
        {"loss": 7.0},
    ]
    found = curves(rows)
    assert set(found) == {"loss", "tokens", "seconds", "tokens_per_second"}
    assert [p.mean for p in found["tokens_per_second"]] == [50.0]
    assert [p.step for p in found["loss"]] == [1]


def test_a_histogram_has_a_bar_a_bin_and_a_line_a_mark() -> None:
    bins = [Bin(0, 2, 5), Bin(2, 4, 0), Bin(4, 6, 10)]
    picture = histogram(bins, [Mark("<b>&", 3.2, "here"), Mark("paper", 8, "paper")], 'told "so"')
    assert picture == histogram(bins, [Mark("<b>&", 3.2, "here"), Mark("paper", 8, "paper")], 'told "so"')
    root = parsed(picture)
    heights = [float(bar.attrib["height"]) for bar in root.iter(f"{SVG}rect")]
    assert len(heights) == 2
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)
    assert len([line for line in root.iter(f"{SVG}line") if "mark" in line.attrib["class"]]) == 2
    assert "<b>& 3.2" in [text.text for text in root.iter(f"{SVG}text")]
    assert root.attrib["aria-label"] == 'told "so"'
    assert not [element for element in root.iter() if "id" in element.attrib]


@pytest.mark.parametrize("values", [[3.0], [2.0, 2.0, 2.0], [0.0, 0.0], [-1.0, 1e9], [1e-9, 2e-9]])
def test_any_curve_can_be_drawn(values: list[float]) -> None:
    root = parsed(curve(thinned(range(len(values)), values), "told"))
    line = next(root.iter(f"{SVG}polyline")).attrib["points"]
    assert all(0 <= float(x) <= 360 for point in line.split() for x in point.split(","))


def test_lines_have_their_names_at_their_ends_and_keep_apart() -> None:
    drawn = parsed(lines({"a <b>": [(0, 1), (10, 50)], "c": [(0, 3), (10, 49)]}, "two lines"))
    named = {text.text: float(text.attrib["y"]) for text in drawn.iter(f"{SVG}text") if text.attrib["class"] != "tick"}
    assert named.keys() == {"a <b>", "c"}
    assert named["c"] - named["a <b>"] >= 13  # the greater stands above
    assert [len(line.attrib["points"].split()) for line in drawn.iter(f"{SVG}polyline")] == [2, 2]


def test_names_of_lines_that_end_together_stay_in_the_picture() -> None:
    drawn = parsed(
        lines({name: [(0, 1), (10, value)] for name, value in zip("abcd", (97, 98, 99, 0), strict=True)}, "")
    )
    places = [float(text.attrib["y"]) for text in drawn.iter(f"{SVG}text") if text.attrib["class"] != "tick"]
    assert places[0] >= 10
    assert all(below - above >= 13 for above, below in pairwise(places))
    assert places[-1] <= 220

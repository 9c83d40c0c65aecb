"""Charts as inline SVG: histograms and training curves. Colours and fonts are the page's, by CSS class; no ids.

Each is a `<svg>` of its own coordinates (360 wide) that scales with its place. The same numbers give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH, LEFT, RIGHT, BOTTOM = 360.0, 44.0, 12.0, 26.0
TEXT = 13.0  # height of a line of text
POINTS = 60  # a curve's: enough of them to see its course, few enough that noise is averaged out


@dataclass(frozen=True)
class Bin:
    """Values from `low` on and below `high`, and how many there are."""

    low: float
    high: float
    count: int


class Mark(NamedTuple):
    """A value drawn as a line over a histogram; `kind` is its CSS class."""

    label: str
    value: float
    kind: str


class Point(NamedTuple):
    """Some steps of a curve: the last of them, their mean, least and greatest value."""

    step: float
    mean: float
    low: float
    high: float


def number(value: float) -> str:
    """A figure as people read it: 1,204; 12.3 K; 0.0015."""
    size = abs(value)
    if not math.isfinite(value):
        return str(value)
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e4, " K")):
        if size >= unit:
            return f"{value / (1e3 if unit == 1e4 else unit):.3g}{name}"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    if size >= 1e-3:
        return f"{value:.3g}"
    digits, power = f"{value:.2e}".split("e")  # 0.00025 as 2.5e-4: shorter than it is written out
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"


def counted(count: int, name: str, many: str = "") -> str:
    """`1 episode`, `1,204 episodes`; `many` is the plural where it takes more than an s."""
    return f"{count:,} {name}" if count == 1 else f"{count:,} {many or f'{name}s'}"


def ticks(low: float, high: float, most: int, whole: bool = False) -> list[float]:
    """At most `most` + 1 round numbers that lie evenly within a range; `whole` ones alone where things are counted."""
    if high <= low:
        return [low]
    rough = max((high - low) / most, 1.0 if whole else 0.0)
    exponent = math.floor(math.log10(rough))
    unit = 10.0**exponent
    nice = (1, 2, 5, 10) if whole else (1, 2, 2.5, 5, 10)
    step = next(unit * n for n in nice if unit * n >= rough * (1 - 1e-9))
    slack = 0.0 if whole else 1e-9  # whole steps are exact
    first = math.ceil(low / step - slack)
    # Rounded, since multiples of a step such as 0.1 are not exact.
    return [round(n * step, 2 - exponent) for n in range(first, math.floor(high / step + slack) + 1)]


def histogram(bins: Sequence[Bin], marks: Sequence[Mark], label: str) -> Markup:
    """Bars from zero, with marks over them; `label` says it in words for those who do not see it."""
    top, height = 16.0 + 15.0 * len(marks), 186.0
    right = max([b.high for b in bins] + [m.value * 1.08 for m in marks])
    tallest = max(b.count for b in bins)
    x, y = _scale(0, right, LEFT, WIDTH - RIGHT), _scale(0, tallest, height - BOTTOM, top)
    parts = _axes(x, y, ticks(0, right, 5, whole=True), ticks(0, tallest, 3, whole=True), height)
    for b in bins:
        if b.count:
            gap = min(1.0, (x(b.high) - x(b.low)) * 0.1)
            wide = max(0.6, x(b.high) - x(b.low) - 2 * gap)
            # Never lower than can be seen: one among thousands is there too.
            tall = max(0.8, y(0) - y(b.count))
            tip = f"{number(b.low)} to {number(b.high)}: {b.count:,}"
            parts.append(
                f'<rect class="bar" x="{x(b.low) + gap:.1f}" y="{y(0) - tall:.1f}" width="{wide:.1f}" '
                f'height="{tall:.1f}"><title>{escape(tip)}</title></rect>'
            )
    for row, mark in enumerate(marks):
        at, level = x(mark.value), 11.0 + 15.0 * row
        # At the left of lines that are far to the right, so that no label leaves the picture.
        end, shift = ("end", -5) if at > WIDTH * 0.6 else ("start", 5)
        parts.append(
            f'<line class="mark {escape(mark.kind)}" x1="{at:.1f}" x2="{at:.1f}" y1="{level - 8:.1f}" y2="{y(0):.1f}"/>'
            f'<text class="{escape(mark.kind)}" x="{at + shift:.1f}" y="{level:.1f}" text-anchor="{end}">'
            f"{escape(mark.label)} {number(mark.value)}</text>"
        )
    return _svg(parts, height, label)


def curve(points: Sequence[Point], label: str) -> Markup:
    """A line of means over a band from least to greatest."""
    height, top = 170.0, 10.0
    low, high = min(p.low for p in points), max(p.high for p in points)
    # From zero where that costs little height: else a small change looks like a large one.
    if low >= 0 and low < high * 0.6:
        low = 0.0
    if high <= low:
        high = low + (abs(low) or 1.0) * 0.1
    first, last = points[0].step, points[-1].step
    # A curve of a single step has a range as well.
    x = _scale(min(first, last - 1), last, LEFT, WIDTH - RIGHT)
    y = _scale(low, high, height - BOTTOM, top)
    parts = _axes(x, y, ticks(first, last, 5, whole=True), ticks(low, high, 4), height)
    over = " ".join(f"{x(p.step):.1f},{y(p.high):.1f}" for p in points)
    under = " ".join(f"{x(p.step):.1f},{y(p.low):.1f}" for p in reversed(points))
    line = " ".join(f"{x(p.step):.1f},{y(p.mean):.1f}" for p in points)
    if any(p.high > p.low for p in points):
        parts.append(f'<polygon class="band" points="{over} {under}"/>')
    parts.append(f'<polyline class="line" points="{line}"/>')
    end = points[-1]
    parts.append(f'<circle class="dot" cx="{x(end.step):.1f}" cy="{y(end.mean):.1f}" r="3"/>')
    return _svg(parts, height, label)


def lines(series: Mapping[str, Sequence[tuple[float, float]]], label: str) -> Markup:
    """A line of (x, y) points for each name, which stands at its end; y from zero. CSS classes are s0, s1 and so on."""
    height, top, names = 220.0, 10.0, 88.0
    across, up = zip(*(point for line in series.values() for point in line), strict=True)
    most = max(up) or 1.0
    x, y = _scale(min(across), max(across), LEFT, WIDTH - RIGHT - names), _scale(0.0, most, height - BOTTOM, top)
    parts = _axes(x, y, ticks(min(across), max(across), 5, whole=True), ticks(0, most, 4), height)
    # From the top, as `_apart` wants the names; numbers stay, so that a line keeps its class.
    highest_first = sorted(enumerate(series.items()), key=lambda item: -item[1][1][-1][1])
    places = _apart([y(line[-1][1]) + 4 for _, (_, line) in highest_first], top + 1, height)
    for (n, (name, line)), at in zip(highest_first, places, strict=True):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line)
        parts.append(
            f'<polyline class="line s{n}" points="{path}"/>'
            f'<text class="s{n}" x="{WIDTH - RIGHT - names + 6:.1f}" y="{at:.1f}">{escape(name)}</text>'
        )
    return _svg(parts, height, label)


def _apart(places: Sequence[float], top: float, bottom: float) -> list[float]:
    """Places of lines of text, the topmost first, moved up and then down as far as they would overlap or leave."""
    kept = list(places)
    for i in reversed(range(len(kept))):
        kept[i] = min(kept[i], kept[i + 1] - TEXT if i + 1 < len(kept) else bottom)
    for i in range(len(kept)):
        kept[i] = max(kept[i], kept[i - 1] + TEXT if i else top)
    return kept


def thinned(steps: Sequence[float], values: Sequence[float], most: int = POINTS) -> list[Point]:
    """A curve in at most `most` points of as many steps each. Values that are no number are left out."""
    finite = [(s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)]
    each = -(-len(finite) // most) or 1
    points = []
    for start in range(0, len(finite), each):
        part = finite[start : start + each]
        of = [v for _, v in part]
        points.append(Point(part[-1][0], sum(of) / len(of), min(of), max(of)))
    return points


def curves(rows: Sequence[Mapping[str, object]]) -> dict[str, list[Point]]:
    """The curves of a run's metrics, by name, rows in the order of their `step`; with tokens per second.

    Rows without a step are left out, and so is what holds no number.
    """
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        step = _real(row.get("step"))
        if step is None:
            continue
        tokens, seconds = _real(row.get("tokens")), _real(row.get("seconds"))
        rate = {"tokens_per_second": tokens / seconds} if tokens is not None and seconds else {}
        for name, value in {**row, **rate}.items():
            real = _real(value)
            if real is not None and name != "step":
                steps, values = found.setdefault(name, ([], []))
                steps.append(step)
                values.append(real)
    drawn = {name: thinned(steps, values) for name, (steps, values) in found.items()}
    return {name: points for name, points in drawn.items() if points}


def _real(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


class _scale:  # noqa: N801
    """Maps a range of values onto a range of pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = low, start
        self._rate = (end - start) / (high - low or 1)

    def __call__(self, value: float) -> float:
        return self._start + (value - self._low) * self._rate


def _axes(x: _scale, y: _scale, along: Sequence[float], up: Sequence[float], height: float) -> list[str]:
    parts = []
    for value in up:
        at = y(value)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{number(value)}</text>'
        )
    for value in along:
        parts.append(
            f'<text class="tick" x="{x(value):.1f}" y="{height - 8:.1f}" text-anchor="middle">{number(value)}</text>'
        )
    return parts


def _svg(parts: Sequence[str], height: float, label: str) -> Markup:
    return Markup(  # noqa: S704  every text in `parts` is escaped where it is put in
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )

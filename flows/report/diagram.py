"""Boxes and arrows as inline SVG, in layers: from left to right on a wide page, from top to bottom on a narrow one.

Colours and fonts are the page's, by CSS class; no ids. The same boxes give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

LINE, PAD, APART = 16.0, 12.0, 14.0
CHARACTER = {"kind": 7.2, "name": 9.0, "fact": 7.1}  # pixels, of the widest font that may be there


@dataclass(frozen=True)
class Box:
    """A thing with its kind, its name and short lines about it. `to` are the keys of the boxes it points to.

    `stands_for` are the keys of things that have no box of their own.
    """

    key: str
    kind: str
    label: str
    facts: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    stands_for: frozenset[str] = frozenset()

    @property
    def height(self) -> float:
        return 2 * PAD + LINE * (2 + len(self.facts)) - 4


@dataclass(frozen=True)
class Placed:
    """Where a box lies."""

    box: Box
    x: float
    y: float
    width: float


def wide(layers: Sequence[Sequence[Box]], label: str, width: float = 1080) -> Markup:
    """Layers as columns, arrows from right edges to left ones."""
    gap = 27.0 if len(layers) > 4 else 80.0
    column = min(250.0, (width - gap * (len(layers) - 1)) / len(layers))
    used = column * len(layers) + gap * (len(layers) - 1)
    height = max(_stack(layer) for layer in layers) + 8
    placed, at = [], dict[str, Placed]()
    for number, layer in enumerate(layers):
        x, y = (width - used) / 2 + number * (column + gap), (height - _stack(layer)) / 2
        for box in layer:
            placed.append(Placed(box, x, y, column))
            at |= dict.fromkeys((box.key, *box.stands_for), placed[-1])
            y += box.height + APART
    # Two that a box stands for get one arrow.
    ends = dict.fromkeys((start, at[key]) for start in placed for key in start.box.to if key in at)
    # To the right alone: an arrow leaves at a box's right edge, and back it would run through boxes.
    arrows = [_sideways(start, end) for start, end in ends if end.x > start.x]
    # Arrows first: SVG draws what comes later over what came before.
    return _svg([*arrows, *map(_box, placed)], width, height, label, "wide")


def narrow(layers: Sequence[Sequence[Box]], label: str, width: float = 360) -> Markup:
    """Layers as groups below each other, one arrow from each to the next."""
    parts, y = [], 4.0
    for number, layer in enumerate(layers):
        if number:
            parts.append(_down(width / 2, y, y + 26))
            y += 30
        for box in layer:
            parts.append(_box(Placed(box, 1, y, width - 2)))
            y += box.height + 8
        y -= 4
    return _svg(parts, width, y + 4, label, "narrow")


def _stack(layer: Sequence[Box]) -> float:
    return sum(box.height for box in layer) + APART * (len(layer) - 1)


def _box(placed: Placed) -> str:
    box, x, y = placed.box, placed.x, placed.y
    # In full as a tooltip, since what is too wide is cut.
    full = "\n".join(_plain(line) for line in (f"{box.kind}: {box.label}", *box.facts))
    lines = [("kind", box.kind), ("name", box.label), *(("fact", fact) for fact in box.facts)]
    texts = ""
    for row, (style, text) in enumerate(lines):
        seen = _cut(text, int((placed.width - 1.5 * PAD) / CHARACTER[style]))
        at = f'x="{x + PAD:.1f}" y="{y + PAD + 8 + LINE * row:.1f}"'
        texts += f'<text class="{style}" {at}>{escape(seen)}</text>'
    place = f'x="{x:.1f}" y="{y:.1f}" width="{placed.width:.1f}" height="{box.height:.1f}" rx="6"'
    edge = f'<rect class="edge" x="{x:.1f}" y="{y + 8:.1f}" width="3" height="{box.height - 16:.1f}"/>'
    name = "".join(c if c.isalnum() else "-" for c in box.kind)
    return f'<g class="box {name}"><title>{escape(full)}</title><rect {place}/>{edge}{texts}</g>'


def _sideways(start: Placed, end: Placed) -> str:
    x1, y1 = start.x + start.width, start.y + start.box.height / 2
    x2, y2 = end.x - 2, end.y + end.box.height / 2
    bend = max(12.0, (x2 - x1) / 2)
    line = f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2 - 6:.1f} {y2:.1f}"
    head = f"M{x2:.1f} {y2:.1f}l-9 -4.5v9z"
    return f'<path class="arrow" d="{line}"/><path class="head" d="{head}"/>'


def _down(x: float, y1: float, y2: float) -> str:
    head = f"M{x:.1f} {y2:.1f}l-4.5 -9h9z"
    return f'<path class="arrow" d="M{x:.1f} {y1:.1f}V{y2 - 6:.1f}"/><path class="head" d="{head}"/>'


def _cut(text: str, fits: int) -> str:
    """The text on one line, its end left out where it is too long."""
    plain = _plain(text)
    return plain if len(plain) <= fits else plain[: max(1, fits - 1)] + "…"


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _svg(parts: Sequence[str], width: float, height: float, label: str, kind: str) -> Markup:
    return Markup(  # noqa: S704  every text in `parts` is escaped where it is put in
        f'<svg class="diagram {kind}" viewBox="0 0 {width:g} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )

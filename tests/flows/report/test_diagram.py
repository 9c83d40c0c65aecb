"""Boxes and arrows: every arrow ends at a box, words stay words, the same boxes give the same bytes."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from evoembedding.flows.report.diagram import Box, narrow, wide

SVG = "{http://www.w3.org/2000/svg}"
LAYERS = [
    [Box("a", "model", "<b>model</b>", ("1 & 2",), ("b", "c"))],
    [Box("b", "generator", "b\n\x1b[31m" + "long " * 60, (), ("d", "e", "f")), Box("c", "generator", "c", (), ("d",))],
    [Box("d", "sources", "d"), Box("more", "teachers", "and 2 more", stands_for=frozenset("ef"))],
]


def parsed(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(str(picture).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


@pytest.mark.parametrize(("draw", "arrows"), [(wide, 5), (narrow, 2)])
def test_boxes_and_arrows(draw, arrows: int) -> None:  # type: ignore[no-untyped-def]
    picture = draw(LAYERS, "told")
    assert picture == draw(LAYERS, "told")
    root = parsed(picture)
    assert len(list(root.iter(f"{SVG}g"))) == 5
    # Of those from b to e and f, which one box stands for, one is drawn.
    assert len([path for path in root.iter(f"{SVG}path") if path.attrib["class"] == "arrow"]) == arrows
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert {"<b>model</b>", "1 & 2", "and 2 more"} <= set(texts)
    assert any(text.endswith("…") for text in texts)
    assert "\x1b" not in "".join(texts)
    assert not [element for element in root.iter() if "id" in element.attrib]


def test_boxes_do_not_overlap() -> None:
    many = [[Box("top", "dataset", "top")], [Box(f"{n}", "generator", f"{n}", ("x",) * (n % 4)) for n in range(7)]]
    for draw in (wide, narrow):
        root = parsed(draw(many, "told"))
        height = float(root.attrib["viewBox"].split()[3])
        frames = [next(group.iter(f"{SVG}rect")).attrib for group in root.iter(f"{SVG}g")]
        column = [(float(f["y"]), float(f["y"]) + float(f["height"])) for f in frames[1:]]
        assert all(before[1] < after[0] for before, after in pairwise(column))
        assert column[0][0] >= 0
        assert column[-1][1] <= height

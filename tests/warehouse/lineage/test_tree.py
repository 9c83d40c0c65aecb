"""The Mermaid form: every line is one of four shapes, and a label gives back its text, whatever that holds."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoembedding.warehouse.lineage.tree import (
    MERMAID_CHARACTERS,
    TraceNode,
    as_dict,
    json_parts,
    mermaid_text,
    render_mermaid,
    render_tree,
)

# Letters, digits and the marks that no grammar of Mermaid gives a meaning inside quotes; entities by number.
TEXT = r"(?:[^\W_]|[ .,_\-/()]|#[0-9]+;)*"
SHAPES = (
    re.compile(rf'    (n[0-9]+)\["{TEXT}(?:<br/>{TEXT})*"\]'),
    re.compile(r"    (n[0-9]+) --> (n[0-9]+)"),
    re.compile(r"    classDef withdrawn stroke:red,stroke-width:3px"),
    re.compile(r"    class n[0-9]+(?:,n[0-9]+)* withdrawn"),
)
HOSTILE = (
    'say "hi" ]) --> x',
    "end",
    "a\nend\nsubgraph b",
    "`markdown` **bold**",
    "<script>alert(1)</script> &lt; #quot; #35;",
    "style a:b#c; classDef d:e#f;",
    "%% comment",
    "été 漢字 🙂 \u202e \u2028 \x1b[31m \x00",
    "{{shape}} ((round)) [/x/] |pipe| A:::b @{ shape: x }",
    'click n0 href "javascript:alert(1)"',
    "",
)


def decoded(escaped: str) -> str:
    """What Mermaid shows: its `#34;` is HTML's `&#34;`."""
    return html.unescape(re.sub(r"#([0-9]+);", r"&#\1;", escaped))


@given(st.text())
def test_a_label_gives_back_its_text(text: str) -> None:
    escaped = mermaid_text(text)
    assert re.fullmatch(TEXT, escaped)
    assert decoded(escaped) == "".join(c if c.isprintable() else " " for c in text)


@given(st.lists(st.sampled_from(HOSTILE) | st.text(), min_size=4, max_size=4), st.booleans())
def test_every_line_is_of_a_known_shape(texts: list[str], upward: bool) -> None:
    kind, identity, label, fact = texts
    leaf = TraceNode("document", f"{identity}-", label, {fact: label, "withdrawn": fact})
    tree = TraceNode(kind, identity, label, {"a": fact}, (leaf, TraceNode("more", "", "and 3 more", {}), leaf))
    first, *lines = render_mermaid(tree, upward).split("\n")
    assert first == "flowchart LR"
    assert all(any(shape.fullmatch(line) for shape in SHAPES) for line in lines)
    boxes = {match[1] for line in lines if (match := SHAPES[0].fullmatch(line))}
    arrows = [match.groups() for line in lines if (match := SHAPES[1].fullmatch(line))]
    assert len(boxes) == 3
    assert len(arrows) == len(set(arrows)) == 2
    assert {name for arrow in arrows for name in arrow} == boxes
    assert all(arrow[0 if upward else 1] == "n0" for arrow in arrows)


def test_what_occurs_twice_is_one_box_and_long_texts_are_cut() -> None:
    document = TraceNode("document", "doc-1", "x" * 500, {"withdrawn": "yes"})
    contexts = tuple(TraceNode("context", f"ctx-{n}", f"ctx-{n}", {}, (document,)) for n in range(2))
    drawn = render_mermaid(TraceNode("generator", "g", "g", {}, contexts))
    assert drawn.count("[") == 4
    assert "x" * MERMAID_CHARACTERS not in drawn
    assert drawn.endswith("class n2 withdrawn")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_mark_of_the_grammar_is_left(text: str) -> None:
    assert not set(mermaid_text(text)) & set('"[]{}<>|&`:%@*\n')


def test_values_are_kept_in_json_and_put_into_words_in_text() -> None:
    made = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    facts = {"steps": 900, "loss": 4.09491, "seconds": 434.628, "made": made, "parent": None, "calls": ["a", "b"]}
    node = TraceNode("run", "run-1", "run-1", {**facts, "votes": {"3": 2}})
    told = "steps: 900, loss: 4.0949, seconds: 434.6, made: 2026-01-02T03:04:05+00:00, parent: none, calls: a, b"
    assert render_tree(node) == f"run run-1 ({told}, votes: 3: 2)"
    kept = json.loads("".join(json_parts(node)))["facts"]
    assert kept == {**facts, "made": "2026-01-02T03:04:05+00:00", "votes": {"3": 2}}
    assert as_dict(node)["facts"] == kept

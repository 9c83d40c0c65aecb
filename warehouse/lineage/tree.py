"""Lineage as a tree, and how it is shown: lines of text, JSON, a Mermaid flowchart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PLAIN = frozenset(" .,_-/()")  # what a Mermaid label keeps besides letters and digits
MERMAID_FACTS = 4
MERMAID_CHARACTERS = 60  # of a label's line
Facts = dict[str, Any]  # by name: texts, numbers, moments, None, and lists and mappings of these, as they were stored


@dataclass(frozen=True)
class Chunks:
    """Children that are fetched while one walks over them, so that a tree of everything is never held whole."""

    make: Callable[[], Iterable[TraceNode]]

    def __iter__(self) -> Iterator[TraceNode]:
        return iter(self.make())


@dataclass(frozen=True)
class TraceNode:
    """A thing, what is known of it, and what it was made from (of a trace) or what was made from it (of an impact)."""

    kind: str
    id: str
    label: str
    facts: Facts
    children: tuple[TraceNode, ...] | Chunks = ()


def in_words(value: Any) -> str:
    """A fact in words: the values are kept, and put into words where a tree is shown as text."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return ", ".join(f"{name}: {in_words(one)}" for name, one in value.items())
    return ", ".join(map(in_words, value)) if isinstance(value, list | tuple) else str(value)


def more(what: str, total: int, shown: int) -> tuple[TraceNode, ...]:
    """A line that counts what a list leaves out; nothing when it is complete."""
    return (TraceNode("more", "", f"and {total - shown} more {what}", {}),) if total > shown else ()


def render_tree(node: TraceNode) -> str:
    """The tree as plain text."""
    return "\n".join(tree_lines(node))


def tree_lines(node: TraceNode, first: str = "", rest: str = "") -> Iterator[str]:
    """The lines of the text, each when it is known."""
    # A title may hold line breaks or control characters; neither may draw outside its line.
    kind = "" if node.kind == "more" else node.kind
    text = " ".join(part for part in (kind, node.label, _facts(node)) if part)
    yield first + "".join(c if c.isprintable() else " " for c in text)
    for child, last in _with_last(node.children):
        yield from tree_lines(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


def as_dict(node: TraceNode) -> dict[str, Any]:
    """The tree as plain JSON values."""
    return {**_alone(node), "children": [as_dict(child) for child in node.children]}


def json_parts(node: TraceNode) -> Iterator[str]:
    """The JSON of `as_dict`, in parts, each when it is known."""
    yield json.dumps(_alone(node))[:-1] + ', "children": ['
    for number, child in enumerate(node.children):
        yield ", " if number else ""
        yield from json_parts(child)
    yield "]}"


def render_mermaid(node: TraceNode, upward: bool = False) -> str:
    """The tree as a Mermaid flowchart, sources at the left: what occurs twice is one box.

    `upward` is for a tree whose children were made from their parent, as of an impact.
    """
    drawing = _Drawing(upward)
    drawing.add(node)
    return "\n".join(["flowchart LR", *drawing.lines, *drawing.marks()])


class _Drawing:
    """Boxes and arrows so far."""

    def __init__(self, upward: bool) -> None:
        self.lines: list[str] = []
        self._upward = upward
        self._names: dict[object, str] = {}
        self._arrows: set[tuple[str, str]] = set()
        self._withdrawn: list[str] = []

    def add(self, node: TraceNode) -> str:
        """Draw a node with all under it; the name of its box."""
        # Lines of "and 5 more" have no id and are all boxes of their own.
        key = (node.kind, node.id, node.label) if node.id else object()
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"n{len(self._names)}"
            self.lines.append(f'    {name}["{_box(node)}"]')
            if "withdrawn" in node.facts:
                self._withdrawn.append(name)
        for child in node.children:
            other = self.add(child)
            arrow = (name, other) if self._upward else (other, name)
            if arrow not in self._arrows:
                self._arrows.add(arrow)
                self.lines.append(f"    {arrow[0]} --> {arrow[1]}")
        return name

    def marks(self) -> list[str]:
        """What is withdrawn has a red border."""
        if not self._withdrawn:
            return []
        return [
            "    classDef withdrawn stroke:red,stroke-width:3px",
            f"    class {','.join(self._withdrawn)} withdrawn",
        ]


def _box(node: TraceNode) -> str:
    head = " ".join(part for part in ("" if node.kind == "more" else node.kind, node.label) if part)
    # A withdrawal is told first: the list of facts is cut.
    facts = sorted(node.facts.items(), key=lambda fact: fact[0] != "withdrawn")[:MERMAID_FACTS]
    texts = [head, *(f"{key}: {in_words(value)}" for key, value in facts)]
    return "<br/>".join(mermaid_text(_cut(text)) for text in texts)


def mermaid_text(text: str) -> str:
    """A text that can stand between the quotes of a Mermaid label, whatever it holds: all but letters, digits and a
    few marks as an entity (`#34;` for a quote). Control characters are spaces.
    """
    return "".join(_escaped(c) if c.isprintable() else " " for c in text)


def _escaped(character: str) -> str:
    return character if character.isalnum() or character in PLAIN else f"#{ord(character)};"


def _cut(text: str) -> str:
    return text if len(text) <= MERMAID_CHARACTERS else text[: MERMAID_CHARACTERS - 1] + "…"


def _alone(node: TraceNode) -> dict[str, Any]:
    return {"kind": node.kind, "id": node.id, "label": node.label, "facts": _plain(node.facts)}


def _plain(value: Any) -> Any:
    """As JSON has it: numbers stay numbers, moments are ISO 8601."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _facts(node: TraceNode) -> str:
    return f"({', '.join(f'{key}: {in_words(value)}' for key, value in node.facts.items())})" if node.facts else ""


def _with_last(nodes: Iterable[TraceNode]) -> Iterator[tuple[TraceNode, bool]]:
    """Each node, and whether it is the last."""
    held: TraceNode | None = None
    for node in nodes:
        if held is not None:
            yield held, False
        held = node
    if held is not None:
        yield held, True

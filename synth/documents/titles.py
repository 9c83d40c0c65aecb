"""What a text is called, and what it says of itself before it begins: front matter, headings, a first line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date, time
from itertools import pairwise
from typing import NamedTuple

import yaml
from markdown_it import MarkdownIt

LONGEST = 200  # characters of a title
NULL = ("~", "null", "Null", "NULL")  # of YAML, where no quotes are around it
LOOKED_AT = 20_000  # characters of a text in which its title is looked for
_DASHES = re.compile(r"---[ \t]*\n(?P<inside>.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_PLUSES = re.compile(r"\+\+\+[ \t]*\n(?P<inside>.*?)^\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_KEY = re.compile(r"^([A-Za-z_][\w-]*)[ \t]*:(?:[ \t]+(.*?))?[ \t]*$", re.MULTILINE)
_ATX = re.compile(r"#{1,6}(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
# A title of reStructuredText: a line under one of marks at least as long, perhaps with the same above.
_MARKS = r"[!-/:-@\[-`{-~]"
_UNDERLINED = re.compile(rf"^(?! |\.\. |{_MARKS}{{4,}}$)(.*\w.*)\n(({_MARKS})\3{{2,}})[ \t]*$", re.MULTILINE)
_OVERLINED = re.compile(rf"^(({_MARKS})\2{{2,}})\n[ \t]*(\S.*)\n\1[ \t]*$", re.MULTILINE)
_BLOCKS = MarkdownIt("commonmark").disable("inline")  # inside of blocks, marks could take time that is no line's length
_INLINE = MarkdownIt("commonmark")


class _AsWritten(yaml.BaseLoader):  # type: ignore[misc]
    """Makes strings, lists and mappings alone, of values as they were written: `007`, `12:30` and `No` are titles."""

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        """'' for a null; between quotes it is a word."""
        return "" if node.style is None and node.value in NULL else str(super().construct_scalar(node))


class Page(NamedTuple):
    """A text without what stands before it, and what that or a heading says: '' where nothing does."""

    text: str
    title: str
    license: str = ""


def plain(text: str) -> Page:
    """A text whose first line that has a word is its title."""
    return Page(text, _cut(_first_line(text)))


def markdown(text: str) -> Page:
    """A text with YAML or TOML front matter, perhaps; its title is there, or its first heading, or its first line."""
    matter, body = _front_matter(text)
    title = _value(matter, "title") or _heading(body) or _first_line(body)
    return Page(body, _cut(title), _value(matter, "license") or _value(matter, "licence"))


def restructured(text: str) -> Page:
    """A text whose title is its first underlined line."""
    start = text[:LOOKED_AT]
    found = [(match.start(), match[1]) for match in _UNDERLINED.finditer(start) if len(match[2]) >= len(match[1])]
    found += [(match.start(), match[3]) for match in _OVERLINED.finditer(start) if len(match[1]) >= len(match[3])]
    return Page(text, _cut(min(found)[1] if found else _first_line(text)))


def _front_matter(text: str) -> tuple[Mapping[str, object], str]:
    """What stands between the marks at a text's start, and the rest; nothing where it is no mapping."""
    for mark, read in ((_DASHES, _yaml), (_PLUSES, _toml)):
        match = mark.match(text, len(text) - len(text.lstrip("\n")))
        matter = (read(match["inside"]) if match["inside"].strip() else {}) if match else None
        if match and isinstance(matter, dict):
            return matter, text[match.end() :].lstrip("\n")
    return {}, text


def _toml(inside: str) -> object:
    try:
        return tomllib.loads(inside)
    except (ValueError, RecursionError):
        return None


def _yaml(inside: str) -> object:
    """Lines that YAML refuses, such as `title: Tides: a table`, say what they say."""
    try:
        return yaml.load(inside, _AsWritten)  # noqa: S506 - it makes no objects
    except (yaml.YAMLError, ValueError, RecursionError):
        first = next((line for line in inside.splitlines() if line.strip() and not line.startswith("#")), "")
        if not _KEY.match(first):
            return None
        return {key: "" if value in NULL else value.strip("\"'") for key, value in _KEY.findall(inside)}


def _value(matter: Mapping[str, object], name: str) -> str:
    value = next((matter[key] for key in matter if str(key).lower() == name), None)
    if isinstance(value, list) and name != "title":
        value = ", ".join(one for one in value if one and isinstance(one, str))
    if isinstance(value, bool) or not isinstance(value, str | int | float | date | time):
        return ""
    return str(value).strip()


def _heading(text: str) -> str:
    """The first heading with a word in it."""
    tokens = _BLOCKS.parse(text[:LOOKED_AT])
    for before, token in pairwise(tokens):
        if before.type == "heading_open" and (heading := _without_marks(token.content[: 5 * LONGEST])):
            return heading
    return ""


def _without_marks(line: str) -> str:
    inline = _INLINE.parseInline(line)[0].children or []
    words = "".join(" " if child.type.endswith("break") else child.content for child in inline).strip()
    return words if re.search(r"\w", words) else ""


def _first_line(text: str) -> str:
    for line in text.splitlines():
        first = line.strip()
        if re.search(r"\w", first):
            atx = _ATX.fullmatch(first)
            return atx[1] or "" if atx else first
    return ""


def _cut(title: str) -> str:
    return " ".join(title.split())[:LONGEST]

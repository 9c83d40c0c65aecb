"""What `evoembedding` offers in Markdown, from signatures and docstrings, which griffe reads without importing them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import griffe

import evoembedding

ROOT = Path(__file__).parents[2]
WIDTH = 100


def reference() -> str:
    """A section a name of `evoembedding.__all__`, and under a class its public methods and properties."""
    package = griffe.load("evoembedding", search_paths=[ROOT], docstring_parser="google")
    parts: list[str] = []
    for name in evoembedding.__all__:
        parts += _described(_itself(package[name]), name, "##")
    return "\n".join(parts).strip()


def _itself(found: griffe.Object | griffe.Alias) -> griffe.Object:
    return found.final_target if isinstance(found, griffe.Alias) else found


def _described(found: griffe.Object, name: str, level: str) -> Iterator[str]:
    yield from (f"{level} {name}", "")
    if isinstance(found, griffe.Function):
        yield from ("```python", _signature(found), "```", "")
    if isinstance(found, griffe.Class) and (fields := _fields(found)):
        yield from ("```python", f"{name}({', '.join(fields)})", "```", "")
    yield from _docstring(found)
    if isinstance(found, griffe.Class):
        for member in found.members.values():
            public = not member.name.startswith("_")
            if public and (member.is_function or (member.is_attribute and "property" in member.labels)):
                yield from _described(_itself(member), f"{name}.{member.name}", level + "#")


def _signature(found: griffe.Function) -> str:
    """On one line where it fits, without `self`; a line a parameter where it does not."""
    inner = [str(one) for one in _parameters(found)]
    start = f"{'await ' if 'async' in found.labels else ''}{found.name}("
    end = f") -> {found.returns}" if found.returns else ")"
    line = start + ", ".join(inner) + end
    return line if len(line) <= WIDTH else "\n".join([start, *(f"    {one}," for one in inner), end])


def _parameters(found: griffe.Function) -> Iterator[str]:
    starred = False
    for one in found.parameters:
        if one.name in ("self", "cls"):
            continue
        if one.kind is griffe.ParameterKind.keyword_only and not starred:
            starred = True
            yield "*"
        starred = starred or one.kind is griffe.ParameterKind.var_positional
        mark = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(one.kind, "")
        told = f"{mark}{one.name}" + (f": {one.annotation}" if one.annotation else "")
        yield told + (f" = {one.default}" if one.default is not None and not mark else "")


def _fields(found: griffe.Class) -> list[str]:
    """Those of a record, which are its constructor's parameters."""
    return [
        f"{one.name}: {one.annotation}" + (f" = {one.value}" if one.value else "")
        for one in found.attributes.values()
        if one.annotation and "property" not in one.labels
    ]


def _docstring(found: griffe.Object) -> Iterator[str]:
    for section in found.docstring.parsed if found.docstring else ():
        if section.kind is griffe.DocstringSectionKind.text:
            yield from (section.value, "")
        elif section.kind in (griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.raises):
            yield from (
                f"**{'Arguments' if section.kind is griffe.DocstringSectionKind.parameters else 'Raises'}**",
                "",
            )
            for one in section.value:
                name = one.name if isinstance(one, griffe.DocstringParameter) else one.annotation
                yield f"- `{name}`: {' '.join(one.description.split())}"
            yield ""
        else:
            raise ValueError(f"{found.path} has a docstring section '{section.kind.value}', which the page cannot show")

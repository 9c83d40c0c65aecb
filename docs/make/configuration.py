"""Every setting in Markdown, from the fields of the configs: type, default, bounds and description."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.identity import Config

BORN = re.compile(r"^Annotated\[(.*), Born\(.*\)\]$")
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def settings() -> str:
    """A section a config, the recipe first, then those in it in the order in which they are met."""
    parts: list[str] = []
    for kind, where in configs(Recipe).items():
        parts += [f"### {kind.__name__}", "", *([f"`{where}`", ""] if where else []), _docstring(kind), ""]
        parts += ["| setting | type | default | holds |", "|---|---|---|---|"]
        parts += [_row(kind, name, field) for name, field in kind.model_fields.items()]
        parts.append("")
    return "\n".join(parts).strip()


def configs(kind: type[Config]) -> dict[type[Config], str]:
    """A config and all in it, level by level, each with the settings that lead to it: `teaching.teachers`."""
    found = {kind: ""}
    for outer in (todo := [kind]):
        for name, field in outer.model_fields.items():
            for inner in _configs_in(field.annotation):
                if inner not in found:
                    found[inner] = f"{found[outer]}.{name}".strip(".")
                    todo.append(inner)
    return found


def _configs_in(annotation: Any) -> Iterator[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for inner in get_args(annotation):
        yield from _configs_in(inner)


def _docstring(kind: type[BaseModel]) -> str:
    return "\n".join(line.removeprefix("    ") for line in (kind.__doc__ or "").strip().split("\n"))


def _row(kind: type[Config], name: str, field: FieldInfo) -> str:
    cell = f"{_type(kind, name)}{_bounds(field)}"
    return f"| `{name}` | {_cell(cell)} | {_cell(_default(field))} | {_cell(field.description or '')} |"


def _type(kind: type[Config], name: str) -> str:
    """As it is written in the class, without the mark of a field that came later."""
    written = next(told[name] for one in kind.__mro__ if name in (told := inspect.get_annotations(one)))
    return f"`{BORN.sub(lambda found: found[1], written)}`"


def _bounds(field: FieldInfo) -> str:
    told = [
        f"{sign} {getattr(one, word)}" for one in field.metadata for word, sign in BOUNDS.items() if hasattr(one, word)
    ]
    told += [f"at least {one.min_length}" for one in field.metadata if hasattr(one, "min_length")]
    told += [f"`{one.pattern}`" for one in field.metadata if getattr(one, "pattern", None)]
    return ", " + ", ".join(told) if told else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Config):
        changed = ", ".join(
            f"{name}={getattr(value, name)!r}" for name in type(value).model_fields if name in value.model_fields_set
        )
        return f"[{type(value).__name__}](#{type(value).__name__.lower()})" + (f" with {changed}" if changed else "")
    return f"`{value!r}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

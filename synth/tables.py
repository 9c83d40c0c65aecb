"""What modules hold in constants, as fingerprints hash it: templates, word lists, limits, which functions there are."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import regex
from pydantic import BaseModel

from evoembedding.schemas.identity import identity
from evoembedding.schemas.ids import digest

PACKAGE = "evoembedding."  # in no fingerprint: modules were there before it
_CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")


def tables(*modules: str | Mapping[str, str], but: tuple[str, ...] = (), also: Mapping[str, Any] | None = None) -> str:
    """A digest of all constants of the modules of these names, as they are now, less VERSION and those named in `but`.

    A mapping says under which name each module's are hashed, where that is another: files that were one before. `also`
    is hashed with them. Code is not in it: a change there is told by the module's VERSION, and met by the test
    of golden outputs.
    """
    named = {name: of for one in modules for name, of in ({one: one} if isinstance(one, str) else one).items()}
    held = {
        f"{of.removeprefix(PACKAGE)}.{name}": _plain(value)
        for module, of in named.items()
        for name, value in vars(_module(module)).items()
        if _CONSTANT.fullmatch(name) and name not in ("VERSION", *but)
    }
    return digest({**held, **(also or {})}, 10)


def _module(name: str) -> ModuleType:
    return sys.modules.get(name) or import_module(f"{PACKAGE}{name.removeprefix(PACKAGE)}")


def _plain(value: Any) -> Any:
    """As JSON. Tables that are drawn from keep their order, which decides what is drawn."""
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, BaseModel):
        return identity(value)
    if isinstance(value, re.Pattern | regex.Pattern):
        return [value.pattern, value.flags]
    if isinstance(value, Mapping):
        return [[_plain(key), _plain(one)] for key, one in value.items()]
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(value)
    return f"{value.__module__.removeprefix(PACKAGE)}.{value.__qualname__}"  # a function, by name

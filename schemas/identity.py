"""What of a config identifies what it made: a field that comes later changes no id and unmakes nothing.

A field that a config gets after configs of its kind were stored names the value that stands for its absence:

    pause: Annotated[int, Born(0)] = 0

With that value it is in no id, and a stored config without it is read with that value. Its default may then move: as
with any other field, what is made with another value has another id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationInfo, model_validator

from evoembedding.schemas.episode import Record

_STORED = object()  # tells validation that settings were stored, and not given by a user, to whom today's defaults go


@dataclass(frozen=True)
class Born:
    """Marks a field that came later: what went before it did as with this value."""

    value: Any


class Config(Record):
    """Settings that are stored with what they made."""

    @model_validator(mode="before")
    @classmethod
    def _absent_as_before(cls, settings: Any, info: ValidationInfo) -> Any:
        if info.context is _STORED and isinstance(settings, dict):
            return {**_born(cls), **settings}
        return settings


C = TypeVar("C", bound=Config)


def identity(record: BaseModel, *but: str) -> dict[str, Any]:
    """The fields that ids and fingerprints hash, those of the records in it included; `but` names some of no effect."""
    born = _born(type(record))
    return {
        name: _plain(value) for name, value in record if name not in but and not (name in born and value == born[name])
    }


def stored(kind: type[C], settings: str | Mapping[str, Any]) -> C:
    """A config as it was stored, from its JSON or from what that says.

    Raises:
        pydantic.ValidationError: it is none of this code's.
    """
    if isinstance(settings, str):
        return kind.model_validate_json(settings, context=_STORED)
    return kind.model_validate(settings, context=_STORED)


def _born(kind: type[BaseModel]) -> dict[str, Any]:
    return {
        name: mark.value
        for name, field in kind.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Born)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return identity(value)
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value

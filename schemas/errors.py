"""The one error a user sees: a sentence that says what, which value, what follows, and the way out."""

from __future__ import annotations

from pydantic import ValidationError


class EvoError(Exception):
    """A user's mistake or a damaged input. The command prints it without a traceback and exits 1."""


class RefusedError(EvoError):
    """What was made was judged and refused: the command exits 3."""


class InterruptionError(EvoError):
    """The user stopped the run, which put what it had done in order first."""


def first_fault(error: ValidationError) -> str:
    """What is wrong with settings first of all, and where; without the value, which may hold a secret."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message

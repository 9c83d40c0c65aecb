"""Held-out sources: which of the user's own sources are kept apart from training, to ask questions of.

The name of a source comes in, and which side of the line it is on goes out.
"""

from __future__ import annotations

from collections.abc import Iterable

from evoembedding.schemas.ids import digest

VERSION = "hold-out-1"
_DIGITS = 13  # hexadecimal, 52 bits: as exact as a float


def held_out(sources: Iterable[str], share: float) -> str | None:
    """The first source of a context that is kept apart; None where none is.

    By the name that a source has at home, whatever it says today: an edited text stays on its side. A larger share
    holds out more, and all that a smaller one did.
    """
    return next((source for source in sorted(sources) if _place(source) < share), None)


def _place(source: str) -> float:
    """Where a name lies between 0 and 1, evenly over names."""
    return float(int(digest({"code": VERSION, "source": source})[:_DIGITS], 16) / 16**_DIGITS)

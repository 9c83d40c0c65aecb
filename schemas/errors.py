"""The one error a user sees: a sentence that says what, which value, what follows, and the way out."""

from __future__ import annotations


class EvoError(Exception):
    """A user's mistake or a damaged input. The command prints it without a traceback and exits 1."""


class InterruptionError(EvoError):
    """The user stopped the run, which put what it had done in order first."""

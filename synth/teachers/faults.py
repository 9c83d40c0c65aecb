"""What can come of a request in place of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from evoembedding.schemas.errors import EvoError

Outcome = Literal["answered", "busy", "failed", "unreachable"]
Charged = Literal["nothing", "call", "all"]


class NotAnsweredError(Exception):
    """One item got no usable answer; the others go on. `calls` are those that were answered and of no use."""

    def __init__(self, reason: str, calls: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.reason, self.calls = reason, tuple(calls)


class NotAskedError(Exception):
    """The ledger does not hold this call."""


class BudgetSpentError(EvoError):
    """The next call could pass the budget."""


class FaultError(Exception):
    """A request without an answer, that may be tried again.

    `charged` is what the server may want for it: nothing where it never came or was turned away, a call where the
    server failed, all that was set aside for it where an answer was given or may have been.
    """

    def __init__(
        self,
        outcome: Outcome,
        kind: str,
        charged: Charged,
        pause_s: float = 0.0,
        detail: str = "",
        useless: bool = False,
    ) -> None:
        super().__init__(detail or kind)
        self.outcome, self.kind, self.charged = outcome, kind, charged
        self.pause_s, self.detail, self.useless = pause_s, detail, useless


def unreadable(kind: str) -> FaultError:
    """An answer was given, and is none."""
    return FaultError("failed", kind, "all", useless=True)


class RefusedError(Exception):
    """A request that will not be answered: the server's status and words. `alone`: they are about this one only."""

    def __init__(self, status: int, words: str, alone: bool) -> None:
        super().__init__(words)
        self.status, self.words, self.alone = status, words, alone


class RunRefusedError(RefusedError):
    """No request will be answered."""

"""What may be spent on teachers, and what was."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evoembedding.schemas.episode import Record
from evoembedding.schemas.identity import Config


class Spent(Record):
    """What a scope's calls came to."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0

    def plus(self, other: Spent, sign: int = 1) -> Spent:
        """Their sum, or their difference with `sign` -1."""
        return Spent(
            calls=self.calls + sign * other.calls,
            tokens=self.tokens + sign * other.tokens,
            cost=self.cost + sign * other.cost,
        )


class Budget(Config):
    """The most that may be spent, over all runs together; None sets no limit."""

    calls: int | None = Field(None, ge=0, description="Requests that were sent and may have been charged.")
    tokens: int | None = Field(None, ge=0, description="Of prompts and answers.")
    money: float | None = Field(None, ge=0, description="By the teachers' prices.")

    def over(self, spent: Spent, reserved: Spent, most: Spent) -> str:
        """What a call that may come to `most` could pass, with what others under way may come to; '' if nothing."""
        ahead = spent.plus(reserved).plus(most)
        if self.calls is not None and ahead.calls > self.calls:
            return f"{spent.calls} of {self.calls} calls"
        if self.tokens is not None and ahead.tokens > self.tokens:
            return f"{spent.tokens} of {self.tokens} tokens, and the next call may take {most.tokens}"
        # A sum that meets the limit may differ from it in its last bits.
        if self.money is not None and ahead.cost > self.money + 1e-12:
            return f"{spent.cost:.4f} of {self.money:.4f} money, and the next call may take {most.cost:.4f}"
        return ""


class Paid(Record):
    """What the answered calls of a recipe's runs came to in a month, `2026-11`."""

    recipe: str
    month: str
    calls: int
    tokens: int
    cost: float


class Reservation(Record):
    """Whether a call may be sent now: what it may come to is then set aside, and nobody else sends it.

    `answered`: it has an answer by now; `elsewhere`: another driver is sending it; `full`: the budget has no room.
    """

    state: Literal["reserved", "answered", "elsewhere", "full"]
    reason: str = ""  # of a full budget
    alone: bool = False  # nothing is under way that could give back a part of a full budget
    spent: Spent = Spent()  # by the scope until now

"""The budget: what is spent, what calls under way may still spend, and whether the next one fits."""

from __future__ import annotations

import asyncio

from evoembedding.schemas.teacher import Budget, Spent
from evoembedding.synth.teachers.faults import BudgetSpentError


class SharedBudget:
    """Paid from by all teachers of a scope.

    A call of the budget is a request that was sent and may have been charged: answered, or cut off, late, unreadable
    or failed at the server; not one that found nobody (connection refused) or was turned away (429, 503, any 4xx).
    """

    def __init__(self, budget: Budget, spent: Spent, scope: str) -> None:
        self.budget, self.spent, self._scope = budget, spent, scope
        self._reserved = Spent()
        self._changed = asyncio.Event()

    async def reserve(self, most: Spent) -> None:
        """Set aside what a call may come to; waits while calls under way may turn out cheaper.

        Raises:
            BudgetSpentError: it does not fit.
        """
        while reason := self._over(most):
            # Nothing is under way that could give back a part of what was set aside.
            if not self._reserved.calls:
                raise BudgetSpentError(
                    f"the budget of '{self._scope}' is spent: {reason}; everything so far is kept; "
                    "raise the budget and rerun: no answered call is paid for again"
                )
            self._changed.clear()
            await self._changed.wait()
        self._reserved = plus(self._reserved, most)

    def settle(self, most: Spent, spent: Spent) -> None:
        """Give a reservation back and add what the call did cost."""
        self._reserved = plus(self._reserved, most, -1)
        self.spent = plus(self.spent, spent)
        self._changed.set()

    def _over(self, most: Spent) -> str:
        ahead, limits = plus(plus(self.spent, self._reserved), most), self.budget
        if limits.calls is not None and ahead.calls > limits.calls:
            return f"{self.spent.calls} of {limits.calls} calls"
        if limits.tokens is not None and ahead.tokens > limits.tokens:
            return f"{self.spent.tokens} of {limits.tokens} tokens, and the next call may take {most.tokens}"
        # A sum that meets the limit may differ from it in its last bits.
        if limits.money is not None and ahead.cost > limits.money + 1e-12:
            return f"{self.spent.cost:.4f} of {limits.money:.4f} money, and the next call may take {most.cost:.4f}"
        return ""


def plus(first: Spent, second: Spent, sign: int = 1) -> Spent:
    """Their sum, or their difference with `sign` -1."""
    return Spent(
        calls=first.calls + sign * second.calls,
        tokens=first.tokens + sign * second.tokens,
        cost=first.cost + sign * second.cost,
    )

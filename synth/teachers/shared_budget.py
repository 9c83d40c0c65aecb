"""The budget: what is spent, what calls under way may still spend, and whether the next one fits."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Protocol, cast

from evoembedding.schemas.budget import Budget, Spent
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.teacher import CommonLedger, Ledger
from evoembedding.synth.teachers.faults import BudgetSpentError
from evoembedding.synth.teachers.off_loop import OffLoop

# At a call that another driver sends, or at a budget that all drivers have set aside: again after so long, and longer.
LOOK_S, LONGEST_LOOK_S = 0.1, 2.0


class SharedBudget(Protocol):
    """Paid from by all teachers of a scope.

    A call of the budget is a request that was sent and may have been charged: answered, or cut off, late, unreadable
    or failed at the server; not one that found nobody (connection refused) or was turned away (429, 503, any 4xx).
    """

    @property
    def spent(self) -> Spent:
        """What the scope's calls came to, over all runs."""
        ...

    async def reserve(self, call_id: str, most: Spent) -> bool:
        """Set aside what a call may come to; waits while calls under way may turn out cheaper. False: it has an answer
        by now, which another driver has asked for.

        Raises:
            BudgetSpentError: it does not fit.
        """
        ...

    async def settle(self, call_id: str, most: Spent, spent: Spent) -> None:
        """Give a reservation back and add what the call did cost, which is in the ledger by now."""
        ...


def shared_budget(ledger: Ledger, budget: Budget, scope: str) -> SharedBudget:
    """The budget of a scope: this process's own, or that of all drivers which use the same ledger."""
    if ledger.remote:
        return CommonBudget(cast(CommonLedger, ledger), budget, scope)
    return OwnBudget(budget, ledger.spent(scope), scope)


class OwnBudget:
    """One that no other process pays from: runs of a scope take turns in a home."""

    def __init__(self, budget: Budget, spent: Spent, scope: str) -> None:
        self.budget, self.spent, self._scope = budget, spent, scope
        self._reserved = Spent()
        self._changed = asyncio.Event()

    async def reserve(self, call_id: str, most: Spent) -> bool:
        """See `SharedBudget`."""
        while reason := self.budget.over(self.spent, self._reserved, most):
            # Nothing is under way that could give back a part of what was set aside.
            if not self._reserved.calls:
                raise _spent(self._scope, reason)
            self._changed.clear()
            await self._changed.wait()
        self._reserved = self._reserved.plus(most)
        return True

    async def settle(self, call_id: str, most: Spent, spent: Spent) -> None:
        """See `SharedBudget`."""
        self._reserved = self._reserved.plus(most, -1)
        self.spent = self.spent.plus(spent)
        self._changed.set()


class CommonBudget:
    """One that drivers on several machines pay from: the ledger's server decides."""

    def __init__(self, ledger: CommonLedger, budget: Budget, scope: str) -> None:
        self.spent = ledger.spent(scope)
        self._ledger, self._budget, self._scope = ledger, budget, scope
        self._off_loop = OffLoop(ledger)

    async def reserve(self, call_id: str, most: Spent) -> bool:
        """See `SharedBudget`."""
        for n in count():
            found = await self._off_loop(self._ledger.reserve, self._scope, self._budget, call_id, most)
            self.spent = found.spent
            if found.state in ("reserved", "answered"):
                return found.state == "reserved"
            if found.state == "full" and found.alone:
                raise _spent(self._scope, found.reason)
            await asyncio.sleep(min(LOOK_S * 1.5 ** min(n, 20), LONGEST_LOOK_S))
        raise AssertionError("it is asked until there is an answer")

    async def settle(self, call_id: str, most: Spent, spent: Spent) -> None:
        """See `SharedBudget`."""
        self.spent = self.spent.plus(spent)
        await self._off_loop(self._ledger.release, call_id)


def _spent(scope: str, reason: str) -> EvoError:
    return BudgetSpentError(
        f"the budget of '{scope}' is spent: {reason}; everything so far is kept; "
        "raise the budget and rerun: no answered call is paid for again"
    )

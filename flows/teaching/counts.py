"""Where a teaching run stands, for those who show it: nothing here knows how teachers are asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from evoembedding.schemas.budget import Spent


class Progress(NamedTuple):
    """Where a run stands. Counts are of this run, `spent` of the scope's runs together."""

    total: int
    done: int
    accepted: int
    rejected: Counter[str]  # by check
    failed: int
    spent: Spent
    seconds: float
    tokens_a_second: float
    in_flight: int

    @property
    def seconds_left(self) -> float:
        """At the pace so far; 0 before the first item is done."""
        return self.seconds / self.done * (self.total - self.done) if self.done else 0.0

    def line(self) -> str:
        """One line for a terminal or a log."""
        reasons = ", ".join(f"{check} {n}" for check, n in self.rejected.most_common(4))
        return (
            f"teach: {self.done}/{self.total} items  {self.accepted} accepted, {self.rejected.total()} rejected"
            + (f" ({reasons})" if reasons else "")
            + (f", {self.failed} failed" if self.failed else "")
            + f"  {self.tokens_a_second:.0f} tokens/s, {self.in_flight} in flight  "
            f"{self.spent.calls} calls, cost {self.spent.cost:.2f}  {self.seconds_left:.0f} s left"
        )


Report = Callable[[Progress], None]

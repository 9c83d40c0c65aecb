"""The endpoints of a teacher: which one takes the next call, and how many calls each has in flight."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from evoembedding.synth.teachers.call import Endpoint
from evoembedding.synth.teachers.faults import Outcome

FIRST_LIMIT = 16.0
DECREASE = 0.7
LONGEST_PAUSE_S = 30.0


@dataclass
class Replica:
    """One endpoint. `limit` calls may be in flight: it grows with answers and shrinks when the server is busy."""

    url: str
    endpoint: Endpoint
    limit: float = FIRST_LIMIT
    in_flight: int = 0
    paused_until: float = 0.0
    busy_until: float = 0.0  # by the server's own word
    shrunk_at: float = 0.0
    unreachable: int = 0  # in a row
    slow_start: bool = True

    def load(self) -> float:
        """Share of the limit in use."""
        return self.in_flight / self.limit


@dataclass
class Replicas:
    """Hands out places in first-come order, at the replica with the most room."""

    members: Sequence[Replica]
    most: int  # in flight, each
    last_contact: float = field(default_factory=time.monotonic)
    _waiting: deque[asyncio.Future[Replica]] = field(default_factory=deque)
    _timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        for replica in self.members:
            replica.limit = min(replica.limit, self.most)

    async def acquire(self) -> Replica:
        """A place at a replica, waiting for one if need be."""
        # Behind those that wait already: whoever comes just now does not overtake them.
        free = None if self._waiting else self._free()
        if free is not None:
            free.in_flight += 1
            return free
        future: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._hand_out()
        try:
            return await future
        except asyncio.CancelledError:
            # A place that was handed over in that moment would be nobody's.
            if future.done() and not future.cancelled():
                self.release(future.result(), "failed", time.monotonic())
            raise

    def release(self, replica: Replica, outcome: Outcome, began: float, pause_s: float = 0.0) -> None:
        """Give the place back and learn from the outcome of a call that began at `began` (monotonic seconds).

        A busy server halves nothing twice for one burst: calls begun before the last decrease do not count again.
        """
        now = time.monotonic()
        replica.in_flight -= 1
        if outcome in ("answered", "failed"):
            self.last_contact = now
        if outcome != "unreachable":
            replica.unreachable = 0
        if outcome == "answered":
            # As TCP does: fast until the server is busy for the first time, then by about one a round.
            replica.limit = min(self.most, replica.limit + (1.0 if replica.slow_start else 1.0 / replica.limit))
        elif outcome == "busy":
            replica.busy_until = now + pause_s
            replica.paused_until = max(replica.paused_until, replica.busy_until)
            if began > replica.shrunk_at:
                replica.limit, replica.shrunk_at = max(1.0, replica.limit * DECREASE), now
                replica.slow_start = False
        elif outcome == "unreachable":
            wait = min(LONGEST_PAUSE_S, 0.05 * 2 ** min(replica.unreachable, 10)) * random.uniform(0.5, 1.0)
            replica.unreachable += 1
            replica.paused_until = max(replica.paused_until, now + wait)
        self._hand_out()

    def silent_s(self) -> float:
        """Seconds in which every replica was unreachable or busy."""
        return time.monotonic() - self.last_contact

    def closed_s(self) -> float:
        """Seconds for which every replica has asked to be left alone."""
        return min((r.busy_until for r in self.members), default=0.0) - time.monotonic()

    def _free(self) -> Replica | None:
        now = time.monotonic()
        ready = [r for r in self.members if r.paused_until <= now and r.in_flight < int(r.limit)]
        return min(ready, key=Replica.load, default=None)

    def _hand_out(self) -> None:
        while self._waiting:
            if self._waiting[0].done():  # its task was cancelled
                self._waiting.popleft()
                continue
            free = self._free()
            if free is None:
                self._wake_later()
                return
            free.in_flight += 1
            self._waiting.popleft().set_result(free)

    def _wake_later(self) -> None:
        now = time.monotonic()
        paused = [r.paused_until - now for r in self.members if r.paused_until > now]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if paused:
            self._timer = asyncio.get_running_loop().call_later(min(paused) + 0.001, self._hand_out)

"""How often one request is tried, and how long it waits in between."""

from __future__ import annotations

import random

from evoembedding.synth.teachers.faults import FaultError

USELESS = 3  # an answer that cannot be read was most likely paid for
BUSY = 64  # times that a request is turned away while others are answered
LONGEST_S = 10.0


class Tries:
    """What one request has met so far."""

    def __init__(self, attempts: int, answered: int) -> None:
        """`answered` counts the requests that the teacher's endpoints have answered."""
        self._attempts, self._answered = attempts, answered
        self._faults = self._useless = self._busy = self._met = 0

    def met(self, fault: FaultError, answered: int) -> str:
        """Why the request is given up after this fault; nothing while it is not.

        Where no endpoint answers anything, or all are busy, that is not this request's: patience bounds it.
        """
        others, self._answered = answered > self._answered, answered
        self._met += 1
        self._useless += fault.useless
        self._busy += fault.outcome == "busy" and others
        self._faults += fault.outcome == "failed" or (fault.outcome == "unreachable" and others)
        if self._faults < self._attempts and self._useless < min(USELESS, self._attempts) and self._busy < BUSY:
            return ""
        detail = f": {fault.detail}" if fault.detail else ""
        return f"no answer in {self._met} attempts, the last: {fault.kind}{detail}"

    def wait_s(self, fault: FaultError) -> float:
        """Before the next try; an endpoint that cannot be reached rests by itself."""
        if fault.outcome == "unreachable":
            return 0.0
        # By chance, so that those turned away together do not come back together.
        return random.uniform(0.5, 1.0) * min(LONGEST_S, 0.05 * 2.0 ** min(self._met, 16))

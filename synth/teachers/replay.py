"""A teacher that asks nobody: what a plan goes by."""

from __future__ import annotations

from collections import Counter

from evoembedding.schemas.teacher import Ledger, TeacherCall, TeacherConfig
from evoembedding.synth.teachers.faults import NotAskedError
from evoembedding.synth.teachers.teacher import Asked, Teacher


class Replay(Teacher):
    """Answers from the ledger alone, and counts by stage what it held and what a run would ask first."""

    def __init__(self, config: TeacherConfig, ledger: Ledger, scope: str) -> None:
        super().__init__(config, ledger, scope)
        self.held: Counter[str] = Counter()

    async def __aenter__(self) -> Replay:
        return self  # no endpoint is opened

    async def _once(self, asked: Asked) -> TeacherCall:
        """The answer of the ledger.

        Raises:
            NotAskedError: there is none.
        """
        call = self._ledger.find(asked.call_id)
        if call is None:
            raise NotAskedError(asked.stage)
        self.held[asked.stage] += 1
        return call

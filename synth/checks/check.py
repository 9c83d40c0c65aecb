"""What a check is: something that a question must pass to become an episode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from evoembedding.schemas.configs import TeachingConfig, VerifyConfig
from evoembedding.schemas.episode import Context, Draft, Evidence, Question, Segment
from evoembedding.synth.teachers.asking import Asker

Reads = Callable[[Draft, Question, Evidence], str]


class Measured(NamedTuple):
    """What a check measured: a share of 0 to 1, and the ids of the teacher calls that it took."""

    score: float
    calls: tuple[str, ...] = ()


class Case(NamedTuple):
    """A teacher's question with all votes on its evidence, and the evidence that these elect."""

    asker: Asker
    config: TeachingConfig
    context: Context
    question: Question
    votes: Evidence
    elected: Evidence

    @property
    def inside(self) -> Sequence[Segment]:
        """The segments that are evidence."""
        return [self.context.segments[i] for i in self.elected.indices]

    @property
    def outside(self) -> Sequence[Segment]:
        """All others."""
        return [s for i, s in enumerate(self.context.segments) if i not in self.elected.indices]


class Check(NamedTuple):
    """A check, from which fingerprints, plans, verdicts, the docs and tests derive.

    It reads, or it measures and is judged by a threshold, or both. Drafts of offline generators are put to what reads.
    Questions of teachers are too, but where a check has both it only measures.
    """

    name: str  # of its verdicts
    says: str  # what it demands, for the docs
    reads: Reads | None = None  # why a question fails, '' where it passes; no call
    measures: Callable[[Case], Awaitable[Measured]] | None = None
    judges: Callable[[float, VerifyConfig], str] | None = None  # why that score fails, '' where it passes
    prompts: tuple[str, ...] = ()  # that it may ask
    calls: Callable[[VerifyConfig], float] = lambda config: 0.0  # a question, at most
    version: str = ""  # raised by hand for a change of code that changes what a check of later days says
    threshold: float | None = None  # of `judges`, where no field of `VerifyConfig` is its own: see `limit`

    def limit(self, config: VerifyConfig) -> float:
        """Its threshold under a config, which may name another in `limits`."""
        assert self.threshold is not None
        return config.limits.get(self.name, self.threshold)

"""What a stage has made and commits in one transaction: rows of several tables that belong together."""

from __future__ import annotations

from evoembedding.schemas.dataset import Failure, Outcome
from evoembedding.schemas.episode import Context, Episode, Evidence, Question, Record, Verdict


class Made(Record):
    """Rows by the name of their table. Outcomes are of items of teachers, and say that these are complete."""

    contexts: tuple[Context, ...] = ()
    questions: tuple[Question, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    episodes: tuple[Episode, ...] = ()
    failures: tuple[Failure, ...] = ()
    outcomes: tuple[Outcome, ...] = ()

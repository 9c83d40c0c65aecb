"""Asks prompts on behalf of one item: its role's teacher, its stage, and how often it may begin anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from evoembedding.schemas.configs import TeachingConfig
from evoembedding.schemas.teacher import Sampling
from evoembedding.synth.prompts import PROMPTS
from evoembedding.synth.teachers.faults import NotAnsweredError
from evoembedding.synth.teachers.teacher import Answered, Teacher
from evoembedding.synth.text import tokens

A = TypeVar("A", bound=BaseModel)
T = TypeVar("T")
ANEW = 1000  # added to `sample` for each fresh attempt: far above the samples that one attempt takes


class ReadyTeacher(NamedTuple):
    """A teacher and its context window in tokens, where the endpoint tells one."""

    teacher: Teacher
    window: int | None = None


class Asker:
    """One item's way to the teachers, by role.

    A request that got no usable answer fails again on every rerun, without a call: its malformed answers are in the
    ledger. Each `attempt` after the first (`evo retry`) lets it begin once more with a request of its own, while
    requests that were answered come from the ledger as before.
    """

    def __init__(self, teachers: dict[str, ReadyTeacher], config: TeachingConfig, item: str, attempt: int = 1) -> None:
        self._teachers, self._item, self._attempt = teachers, item, attempt
        first = config.teachers[0].name
        self.writer = config.writer or first
        self.askers = config.askers or (first,)
        self.annotators = config.annotators or (first,)
        self.judge = config.judge or first

    def model(self, name: str) -> str:
        """The model behind a teacher's name: what rows give as their generator."""
        return self._teachers[name].teacher.config.model

    async def ask(
        self,
        name: str,
        stage: str,
        prompt: str,
        form: type[A],
        sample: int = 0,
        sampling: Sampling | None = None,
        **values: Any,
    ) -> Answered[A]:
        """The teacher's answer, of `form`, to a prompt filled with `values`.

        Raises:
            NotAnsweredError: there is none, or prompt and answer do not fit the teacher's context window.
            EvoError: nothing can be answered any more.
        """
        ready = self._teachers[name]
        messages = PROMPTS[prompt].render(**values)
        longest = (sampling or ready.teacher.config.sampling).max_tokens
        read = sum(tokens(message.content) for message in messages)
        if ready.window is not None and read + longest > ready.window:
            raise NotAnsweredError(
                f"a prompt of about {read} tokens and an answer of up to {longest} do not fit the context window of "
                f"{ready.window} tokens of teacher '{name}'"
            )
        wasted: tuple[str, ...] = ()
        # Earlier attempts first: what they were answered is in the ledger, and costs no call.
        for attempt in range(self._attempt):
            try:
                answered = await ready.teacher.ask(messages, form, stage, self._item, sample + ANEW * attempt, sampling)
                return Answered(answered.value, (*wasted, *answered.calls))
            except NotAnsweredError as error:
                wasted = (*wasted, *error.calls)
                last = error
        raise NotAnsweredError(last.reason, wasted)


async def together(jobs: Sequence[Awaitable[T]]) -> list[T]:
    """All results, in order. Every job comes to its end before the first error is raised: its calls were paid for."""
    results = await asyncio.gather(*jobs, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]

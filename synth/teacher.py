"""Asks a teacher for answers of a given form: each request once, through every fault, within the budget."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import openai
from openai import AsyncOpenAI
from pydantic import BaseModel, ValidationError

from schemas.errors import EvoError
from schemas.moments import now
from schemas.teacher import (
    Budget,
    Ledger,
    Message,
    Sampling,
    Spent,
    TeacherCall,
    TeacherConfig,
    TeacherRequest,
    answer_schema,
)
from synth.replicas import Outcome, Replica, Replicas

A = TypeVar("A", bound=BaseModel)

SHOWN = 2000  # characters of a malformed answer that a repair shows the teacher again
BUSY = (429, 503)
GATEWAY = (502, 504)  # a router whose server is gone
CHARACTERS_A_TOKEN = 3  # on the safe side of English's four or so: a reservation must not be too small
TEMPLATE_TOKENS = 32  # that a chat template adds to a message
REPAIR = "That answer was not of the required form: {error}. Answer again with JSON of the required form and no more."


class Answered(NamedTuple, Generic[A]):
    """An answer of the asked form, and the calls that it took, repairs included."""

    value: A
    calls: tuple[str, ...]


class NotAnsweredError(Exception):
    """One item got no usable answer; the others go on. `calls` are those that were answered and of no use."""

    def __init__(self, reason: str, calls: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.reason, self.calls = reason, tuple(calls)


class BudgetSpentError(EvoError):
    """The next call could pass the budget."""


class _Asked(NamedTuple):
    call_id: str
    request: TeacherRequest
    answer: type[BaseModel]
    stage: str
    item: str


class Teacher:
    """A client of one `TeacherConfig`. Use it in one event loop, as `async with Teacher(...) as teacher`."""

    def __init__(
        self,
        config: TeacherConfig,
        ledger: Ledger,
        scope: str,
        budget: Budget | None = None,
        purse: Purse | None = None,
    ) -> None:
        """Calls are paid from `purse`, which teachers of one scope share, or from one of their own with `budget`."""
        self.config, self._ledger, self._scope = config, ledger, scope
        self._key = os.environ.get(config.api_key_env, "")
        self._purse = purse or Purse(budget or Budget(), ledger.spent(scope), scope)
        self._flying: dict[str, asyncio.Future[TeacherCall]] = {}
        self._stopped: EvoError | None = None
        # Retries are ours: the library's own would hide 429s from the limit, and could not go to another replica.
        clients = [
            AsyncOpenAI(
                base_url=url, api_key=self._key or "none", max_retries=0, timeout=config.timeout_s, organization=""
            )
            for url in config.endpoints
        ]
        self._replicas = Replicas(
            [Replica(u, c) for u, c in zip(config.endpoints, clients, strict=True)], config.max_in_flight
        )

    async def __aenter__(self) -> Teacher:
        return self

    async def __aexit__(self, *_: object) -> None:
        for replica in self._replicas.members:
            await replica.client.close()

    @property
    def spent(self) -> Spent:
        """What the scope's calls came to, over all runs."""
        return self._purse.spent

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return sum(replica.in_flight for replica in self._replicas.members)

    def stop(self, error: EvoError) -> None:
        """Ask nothing more: calls under way come to their end and are kept, all others raise `error`."""
        self._stopped = error

    async def check(self) -> int | None:
        """Look at the endpoints before any work; the smallest context window in tokens, where one is told.

        Raises:
            EvoError: none can be reached, the key is rejected, or one does not serve the model.
        """
        found = await asyncio.gather(*(self._look(replica) for replica in self._replicas.members))
        if all(isinstance(look, EvoError) for look in found):
            raise next(look for look in found if isinstance(look, EvoError))
        told = [look for look in found if isinstance(look, int) and look > 0]
        return min(told, default=None)

    async def ask(
        self,
        messages: Sequence[Message],
        answer: type[A],
        stage: str,
        item: str,
        sample: int = 0,
        sampling: Sampling | None = None,
    ) -> Answered[A]:
        """The answer as a record, from the ledger where it is there; sampled as `config` says, or otherwise.

        An answer of the wrong form is shown to the teacher again with what is wrong, `config.repairs` times.

        Raises:
            NotAnsweredError: this item cannot be answered.
            BudgetSpentError: the next call could pass the budget.
            EvoError: no item can be answered (key, model, ledger, endpoints gone for longer than `patience_s`).
        """
        chain, calls, wrong = list(messages), [], ""
        schema = answer_schema(answer)
        for _ in range(self.config.repairs + 1):
            request = TeacherRequest(
                model=self.config.model,
                revision=self.config.revision,
                messages=tuple(chain),
                sampling=sampling or self.config.sampling,
                answer_schema=schema,
                sample=sample,
            )
            call = await self._once(_Asked(request.call_id, request, answer, stage, item))
            calls.append(call.call_id)
            if call.valid:
                return Answered(answer.model_validate_json(call.content), tuple(calls))
            wrong = _wrong(call, answer)
            chain += [
                Message(role="assistant", content=call.content[:SHOWN]),
                Message(role="user", content=REPAIR.format(error=wrong)),
            ]
        raise NotAnsweredError(f"{len(calls)} answers were malformed, the last: {wrong}", calls)

    async def _once(self, asked: _Asked) -> TeacherCall:
        """The answer of the ledger, of the same call under way, or of a new one."""
        if known := self._ledger.find(asked.call_id):
            return known
        if under_way := self._flying.get(asked.call_id):
            return await asyncio.shield(under_way)
        future: asyncio.Future[TeacherCall] = asyncio.get_running_loop().create_future()
        self._flying[asked.call_id] = future
        try:
            call = await self._call(asked)
        except BaseException as error:
            future.set_exception(error if isinstance(error, Exception) else NotAnsweredError("the call was cancelled"))
            future.exception()  # seen: nobody else may be waiting
            raise
        else:
            future.set_result(call)
            return call
        finally:
            del self._flying[asked.call_id]

    async def _call(self, asked: _Asked) -> TeacherCall:
        faults: list[str] = []
        longest = asked.request.sampling.max_tokens
        prompt = most_prompt_tokens(asked.request)
        need, cost = prompt + longest, self.config.price.of(prompt, longest)
        while len(faults) < self.config.attempts:
            await self._purse.reserve(need, cost)
            call: TeacherCall | None = None
            try:
                call, outcome, kind = await self._attempt(asked)
            finally:
                self._purse.settle(need, cost, call)
            if call is not None:
                return call
            if outcome == "failed":
                faults.append(kind)
                await asyncio.sleep(random.uniform(0.5, 1.0) * min(10.0, 0.05 * 2 ** len(faults)))
            else:
                self._give_up_on_silence()
        raise NotAnsweredError(f"no answer in {len(faults)} attempts, the last: {faults[-1]}")

    async def _attempt(self, asked: _Asked) -> tuple[TeacherCall | None, Outcome, str]:
        """The answer, or the outcome and the kind of fault of a call without one."""
        replica = await self._replicas.acquire()
        outcome: Outcome = "failed"
        began, pause, kind = time.monotonic(), 0.0, ""
        try:
            if self._stopped:
                raise self._stopped
            response = await replica.client.chat.completions.create(**_body(asked.request))
            call = self._record(asked, replica, response, time.monotonic() - began)
            outcome = "answered"
            return call, outcome, kind
        except openai.OpenAIError as error:
            outcome, kind, pause = self._learn(error, replica)
        except (ValueError, LookupError, AttributeError, TypeError):  # the body was no chat completion
            kind = "malformed response"
        except EvoError as error:
            self._stopped = error
            raise
        finally:
            self._replicas.release(replica, outcome, began, pause)
        self._ledger.fault(self.config.name, replica.url, kind)
        return None, outcome, kind

    def _record(self, asked: _Asked, replica: Replica, response: Any, seconds: float) -> TeacherCall:
        choice, usage = response.choices[0], response.usage
        content = choice.message.content or ""
        prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        call = TeacherCall(
            call_id=asked.call_id,
            scope=self._scope,
            stage=asked.stage,
            item=asked.item,
            teacher=self.config.name,
            model=self.config.model,
            endpoint=replica.url,
            prompt_tokens=prompt,
            completion_tokens=completion,
            seconds=seconds,
            cost=self.config.price.of(prompt, completion),
            finish_reason=choice.finish_reason or "",
            valid=_fits(content, asked.answer),
            content=content,
            created_at=now(),
        )
        self._ledger.record(call, asked.request)
        return call

    def _learn(self, error: openai.OpenAIError, replica: Replica) -> tuple[Outcome, str, float]:
        """(outcome, kind of fault, seconds to pause) of a fault that may pass.

        Raises:
            NotAnsweredError: this request will never be answered.
            EvoError: none will.
        """
        if isinstance(error, openai.APITimeoutError):
            return "failed", "timeout", 0.0
        if isinstance(error, openai.APIConnectionError):
            return "unreachable", "connection", 0.0
        if not isinstance(error, openai.APIStatusError):
            return "failed", "malformed response", 0.0
        status = error.status_code
        if status in (401, 403):
            self._stopped = self._key_rejected(replica.url, status)
            raise self._stopped from None
        if status == 404:
            self._stopped = self._not_served(replica.url, ())
            raise self._stopped from None
        if status in GATEWAY:
            return "unreachable", str(status), 0.0
        if status in BUSY:
            return "busy", str(status), _retry_after(error)
        if 400 <= status < 500 and status not in (408, 409):
            raise NotAnsweredError(
                f"the endpoint refused the request ({status}): {self._scrubbed(error.message)}"
            ) from None
        return "failed", str(status), 0.0

    async def _look(self, replica: Replica) -> int | EvoError:
        try:
            served = [model async for model in replica.client.models.list()]
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise self._key_rejected(replica.url, error.status_code) from None
        except openai.OpenAIError as error:
            return EvoError(
                f"teacher endpoint '{replica.url}' cannot be reached ({type(error).__name__}); no teacher was asked; "
                "start it, for example with 'evo teacher serve', or name another endpoint"
            )
        except (ValueError, TypeError, AttributeError):
            return EvoError(
                f"teacher endpoint '{replica.url}' does not list models as OpenAI's API does; no teacher was asked; "
                "the address usually ends in /v1"
            )
        names = [model.id for model in served]
        if self.config.model not in names:
            raise self._not_served(replica.url, names)
        window = getattr(served[names.index(self.config.model)], "max_model_len", None)
        return window if isinstance(window, int) else 0

    def _give_up_on_silence(self) -> None:
        silent = self._replicas.silent_s()
        if silent > self.config.patience_s:
            self._stopped = EvoError(
                f"no endpoint of teacher '{self.config.name}' answered for {silent:.0f} s; the answers so far "
                "are in the ledger and are not asked for again; start the endpoint and rerun"
            )
            raise self._stopped

    def _key_rejected(self, url: str, status: int) -> EvoError:
        what = "was rejected" if self._key else "is not set"
        return EvoError(
            f"the API key in ${self.config.api_key_env} {what} at '{url}' (status {status}); no answer was paid for; "
            f"set {self.config.api_key_env} in the environment"
        )

    def _not_served(self, url: str, names: Sequence[str]) -> EvoError:
        return EvoError(
            f"'{url}' does not serve model '{self.config.model}'; no teacher was asked; "
            + (f"it serves: {', '.join(names[:10])}" if names else "look at the model's name and the endpoint")
        )

    def _scrubbed(self, text: str) -> str:
        """A server's words without the key, which some repeat."""
        return (text.replace(self._key, "[key]") if self._key else text)[:300]


class NotAskedError(Exception):
    """The ledger does not hold this call."""


class Replay(Teacher):
    """Answers from the ledger alone, and counts by stage what it held and what a run would ask first."""

    def __init__(self, config: TeacherConfig, ledger: Ledger, scope: str) -> None:
        super().__init__(config, ledger, scope)
        self.held: Counter[str] = Counter()

    async def _once(self, asked: _Asked) -> TeacherCall:
        """The answer of the ledger.

        Raises:
            NotAskedError: there is none.
        """
        call = self._ledger.find(asked.call_id)
        if call is None:
            raise NotAskedError(asked.stage)
        self.held[asked.stage] += 1
        return call


def most_prompt_tokens(request: TeacherRequest) -> int:
    """An estimate on the safe side of a prompt's tokens: text, schema (some servers show it to the model), template."""
    characters = sum(len(m.content) for m in request.messages) + len(request.answer_schema)
    return characters // CHARACTERS_A_TOKEN + TEMPLATE_TOKENS * len(request.messages)


class Purse:
    """The budget: what is spent, what calls under way may still spend, and whether the next one fits."""

    def __init__(self, budget: Budget, spent: Spent, scope: str) -> None:
        self.budget, self.spent, self._scope = budget, spent, scope
        self._reserved = Spent()
        self._changed = asyncio.Event()

    async def reserve(self, tokens: int, cost: float) -> None:
        """Set aside what a call may come to; waits while calls under way may turn out cheaper.

        Raises:
            BudgetSpentError: it does not fit.
        """
        while reason := self._over(tokens, cost):
            if not self._reserved.calls:
                raise BudgetSpentError(
                    f"the budget of '{self._scope}' is spent: {reason}; everything so far is kept; "
                    "raise the budget and rerun: no answered call is paid for again"
                )
            self._changed.clear()
            await self._changed.wait()
        self._reserved = _sum(self._reserved, 1, tokens, cost)

    def settle(self, tokens: int, cost: float, call: TeacherCall | None) -> None:
        """Give a reservation back and add what the call did cost."""
        self._reserved = _sum(self._reserved, -1, -tokens, -cost)
        if call is not None:
            self.spent = _sum(self.spent, 1, call.prompt_tokens + call.completion_tokens, call.cost)
        self._changed.set()

    def _over(self, tokens: int, cost: float) -> str:
        ahead, limits = _sum(_sum(self.spent, *_parts(self._reserved)), 1, tokens, cost), self.budget
        if limits.calls is not None and ahead.calls > limits.calls:
            return f"{self.spent.calls} of {limits.calls} calls"
        if limits.tokens is not None and ahead.tokens > limits.tokens:
            return f"{self.spent.tokens} of {limits.tokens} tokens, and the next call may take {tokens}"
        if limits.money is not None and ahead.cost > limits.money + 1e-12:
            return f"{self.spent.cost:.4f} of {limits.money:.4f} money, and the next call may take {cost:.4f}"
        return ""


def _sum(spent: Spent, calls: int, tokens: int, cost: float) -> Spent:
    return Spent(calls=spent.calls + calls, tokens=spent.tokens + tokens, cost=spent.cost + cost)


def _parts(spent: Spent) -> tuple[int, int, float]:
    return spent.calls, spent.tokens, spent.cost


def _body(request: TeacherRequest) -> dict[str, Any]:
    """The request as the API takes it. No seed is sent unless one is set: vLLM's CPU engine dies of it."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [message.model_dump() for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        # As an extra, the schema skips the library's walk over every value, a fifth of a call's CPU.
        "extra_body": {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": json.loads(request.answer_schema), "strict": True},
            }
        },
    }
    return body if sampling.seed is None else body | {"seed": sampling.seed + request.sample}


def _fits(content: str, answer: type[BaseModel]) -> bool:
    try:
        answer.model_validate_json(content)
    except ValidationError:
        return False
    return True


def _wrong(call: TeacherCall, answer: type[BaseModel]) -> str:
    """What is wrong with an answer, in few words."""
    if not call.content.strip():
        return "it was empty"
    if call.finish_reason == "length":
        return "it was cut off at the token limit; be shorter"
    try:
        answer.model_validate_json(call.content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}"[:200] if where else str(first["msg"])[:200]
    return ""


def _retry_after(error: openai.APIStatusError) -> float:
    """Seconds that the server asks to wait, a second where it does not say."""
    try:
        return min(60.0, max(0.0, float(error.response.headers.get("retry-after", "1"))))
    except ValueError:  # a date
        return 1.0

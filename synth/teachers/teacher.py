"""Asks a teacher for answers of a given form: each request once, through every fault, within the budget."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from evoembedding.schemas.budget import Budget, Spent
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.moments import now
from evoembedding.schemas.secrets import of_environment
from evoembedding.schemas.teacher import (
    Ledger,
    Message,
    Sampling,
    TeacherCall,
    TeacherConfig,
    TeacherRequest,
    answer_schema,
)
from evoembedding.schemas.text import mended
from evoembedding.synth.teachers import forms
from evoembedding.synth.teachers.call import Endpoint
from evoembedding.synth.teachers.completion import Completion, ReplyError, completion
from evoembedding.synth.teachers.counting import count, most_prompt_tokens
from evoembedding.synth.teachers.faults import FaultError, NotAnsweredError, Outcome, RefusedError, RunRefusedError
from evoembedding.synth.teachers.listing import listing
from evoembedding.synth.teachers.off_loop import OffLoop
from evoembedding.synth.teachers.refusals import judge, judge_reply, words
from evoembedding.synth.teachers.replicas import Replica, Replicas
from evoembedding.synth.teachers.route import endpoint
from evoembedding.synth.teachers.sentences import Sentences
from evoembedding.synth.teachers.shared_budget import SharedBudget, shared_budget
from evoembedding.synth.teachers.tries import Tries

A = TypeVar("A", bound=BaseModel)

SHOWN = 2000  # characters of a malformed answer that a repair shows the teacher again
STRIKES = 5  # items that fail alike, with no answer in between: then it is not the items
REPAIR = "That answer was not of the required form: {error}. Answer again with JSON of the required form and no more."
TRIAL = "Answer with a JSON object in which `ok` is true."
TRIAL_TOKENS = 16


class Answered(NamedTuple, Generic[A]):
    """An answer of the asked form, and the calls that it took, repairs included."""

    value: A
    calls: tuple[str, ...]


class Asked(NamedTuple):
    """A request, what its answer has to be, and for whom it is asked."""

    call_id: str
    request: TeacherRequest
    answer: type[BaseModel]
    stage: str
    item: str


class Trial(BaseModel):
    """What an endpoint is asked that lists no models."""

    ok: bool


class Teacher:
    """A client of one `TeacherConfig`. Use it in one event loop, as `async with Teacher(...) as teacher`."""

    def __init__(
        self,
        config: TeacherConfig,
        ledger: Ledger,
        scope: str,
        budget: Budget | None = None,
        shared: SharedBudget | None = None,
    ) -> None:
        """Calls are paid from `shared`, which teachers of one scope share, or from one of its own, `budget`."""
        self.config, self._ledger, self._scope = config, ledger, scope
        self._off_loop = OffLoop(ledger)
        self._budget = shared or shared_budget(ledger, budget or Budget(), scope)
        self._scrub = of_environment(config.api_key_env)
        self._say = Sentences(config.name, config.model, config.api_key_env)
        self._flying: dict[str, asyncio.Future[TeacherCall]] = {}
        self._stopped: EvoError | None = None
        self._answered = 0
        # By status or kind of fault, the items that it cost in a row.
        self._strikes: dict[int | str, set[str]] = defaultdict(set)
        self._replicas = Replicas((), config.max_in_flight)

    async def __aenter__(self) -> Teacher:
        """Raises EvoError where the key or a proxy of the environment cannot be used."""
        config = self.config
        opened = [
            Replica(url, endpoint(url, config.api_key_env, config.timeout_s, config.max_in_flight))
            for url in config.endpoints
        ]
        self._replicas = Replicas(opened, config.max_in_flight)
        return self

    async def __aexit__(self, *_: object) -> None:
        for replica in self._replicas.members:
            await replica.endpoint.close()

    @property
    def spent(self) -> Spent:
        """What the scope's calls came to, over all runs."""
        return self._budget.spent

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return sum(replica.in_flight for replica in self._replicas.members)

    def stop(self, error: EvoError) -> None:
        """Ask nothing more: calls under way come to their end and are kept, all others raise `error`."""
        self._stopped = error

    async def check(self) -> int | None:
        """Look at the endpoints before any work; the smallest context window in tokens, where one is told.

        An endpoint whose list of models proves nothing is asked once.

        Raises:
            EvoError: none can be reached, the key is rejected, or one does not serve the model.
        """
        found = await asyncio.gather(*(self._look(replica) for replica in self._replicas.members))
        if all(isinstance(look, EvoError) for look in found):
            raise next(look for look in found if isinstance(look, EvoError))
        windows = [look for look in found if isinstance(look, int) and look > 0]
        return min(windows, default=None)

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
        for _ in range(self.config.repairs + 1):
            request = self._request(chain, answer, sampling or self.config.sampling, sample)
            call = await self._once(Asked(request.call_id, request, answer, stage, item))
            calls.append(call.call_id)
            if call.valid:
                with suppress(ValueError):  # of a ledger that kept what is no longer taken
                    return Answered(forms.read(call.content, answer), tuple(calls))
            wrong = forms.wrong(call, answer)
            chain += [
                Message(role="assistant", content=call.content[:SHOWN]),
                Message(role="user", content=REPAIR.format(error=wrong)),
            ]
        raise NotAnsweredError(f"{len(calls)} answers were malformed, the last: {wrong}", calls)

    def _request(
        self, messages: Sequence[Message], answer: type[BaseModel], sampling: Sampling, sample: int = 0
    ) -> TeacherRequest:
        return TeacherRequest(
            model=self.config.model,
            revision=self.config.revision,
            messages=tuple(messages),
            sampling=sampling,
            answer_schema=answer_schema(answer),
            sample=sample,
        )

    async def _once(self, asked: Asked) -> TeacherCall:
        """The answer of the ledger, of the same call under way, or of a new one."""
        if known := await self._off_loop(self._ledger.find, asked.call_id):
            return known
        if under_way := self._flying.get(asked.call_id):
            # Who waits here may be cancelled; the call is another item's as well.
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

    async def _call(self, asked: Asked) -> TeacherCall:
        most, tries = self._most(asked.request), Tries(self.config.attempts, self._answered)
        while True:
            # Anew for each attempt: what one without an answer may have cost stays counted.
            if not await self._budget.reserve(asked.call_id, most):
                known = await self._off_loop(self._ledger.find, asked.call_id)
                assert known is not None
                return known
            spent = Spent()
            try:
                call = await self._attempt(asked)
                spent = Spent(calls=1, tokens=call.prompt_tokens + call.completion_tokens, cost=call.cost)
                return call
            except FaultError as fault:
                spent, met = await self._charge(fault, most), fault
            finally:
                await self._budget.settle(asked.call_id, most, spent)
            if reason := tries.met(met, self._answered):
                raise self._given_up(asked.item, met, reason)
            # A server that fails is there; patience bounds those that are silent or busy.
            if met.outcome != "failed":
                self._give_up_on_silence()
            await asyncio.sleep(tries.wait_s(met))

    async def _attempt(self, asked: Asked) -> TeacherCall:
        """The answer, kept.

        Raises:
            FaultError: there is none; the next attempt may have one.
            NotAnsweredError: this request will never be answered.
            EvoError: none will.
        """
        replica = await self._replicas.acquire()
        outcome: Outcome = "failed"
        began, pause = time.monotonic(), 0.0
        try:
            # Looked at after the wait for a place: the run may have come to its end meanwhile.
            if self._stopped:
                raise self._stopped
            answered = await self._exchange(replica.endpoint, asked.request)
            call = await self._record(asked, replica, answered, time.monotonic() - began)
            outcome = "answered"
            self._answered += 1
            self._strikes.clear()
            return call
        except FaultError as fault:
            outcome, pause = fault.outcome, fault.pause_s
            await self._fault(replica, fault.kind)
            raise
        except RefusedError as refused:
            await self._fault(replica, str(refused.status))
            raise self._refused(asked.item, replica, refused) from None
        except EvoError as error:
            self._stopped = error
            raise
        except Exception as error:  # whatever an answer did that was not foreseen is that answer's
            kind = type(error).__name__
            await self._fault(replica, kind)
            raise FaultError("failed", kind, "all", detail=words(str(error), self._scrub), useless=True) from error
        finally:
            self._replicas.release(replica, outcome, began, pause)

    async def _exchange(self, endpoint: Endpoint, request: TeacherRequest) -> Completion:
        reply = await endpoint.call("/chat/completions", _body(request))
        judge(reply, self._scrub)
        try:
            return completion(reply)
        except ReplyError as error:
            raise judge_reply(error, self._scrub) from None

    async def _record(self, asked: Asked, replica: Replica, answered: Completion, seconds: float) -> TeacherCall:
        content, valid = self._taken(answered, asked.answer)
        tokens = count(asked.request, answered)
        if not tokens.reported:
            await self._fault(replica, "tokens not told, counted here")
        call = TeacherCall(
            call_id=asked.call_id,
            scope=self._scope,
            stage=asked.stage,
            item=asked.item,
            teacher=self.config.name,
            model=self.config.model,
            endpoint=replica.url,
            prompt_tokens=tokens.prompt,
            completion_tokens=tokens.completion,
            seconds=seconds,
            cost=self.config.price.of(tokens.prompt, tokens.completion),
            finish_reason=mended(self._scrub(answered.finish_reason)),
            valid=valid,
            content=content,
            created_at=now(),
        )
        await self._off_loop(self._ledger.record, call, asked.request)
        return call

    async def _fault(self, replica: Replica, kind: str) -> None:
        await self._off_loop(self._ledger.fault, self.config.name, replica.url, kind)

    def _taken(self, answered: Completion, answer: type[BaseModel]) -> tuple[str, bool]:
        """The text that is kept, as it was sent but for secrets and characters that no text can hold; and its worth."""
        texts = [(self._scrub(forms.kept(text)), text) for text in answered.texts]
        for content, sent in texts:
            if forms.kept(sent) == sent[: forms.KEPT] and forms.fits(content, answer):
                return content, True
        return texts[0][0], False

    def _most(self, request: TeacherRequest) -> Spent:
        """What a request may come to."""
        prompt, longest = most_prompt_tokens(request), request.sampling.max_tokens
        return Spent(calls=1, tokens=prompt + longest, cost=self.config.price.of(prompt, longest))

    async def _charge(self, fault: FaultError, most: Spent) -> Spent:
        """What a request without an answer may have cost: kept, for the budget of later runs too."""
        spent = {"nothing": Spent(), "call": Spent(calls=1), "all": most}[fault.charged]
        if spent.calls:
            await self._off_loop(self._ledger.charge, self._scope, spent)
        return spent

    def _given_up(self, item: str, fault: FaultError, reason: str) -> Exception:
        """What is to be raised: for the item, or for the run where one item after another ends so."""
        self._strikes[fault.kind].add(item)
        if len(self._strikes[fault.kind]) < STRIKES:
            return NotAnsweredError(reason)
        self._stopped = self._stopped or self._say.given_up(fault, STRIKES)
        return self._stopped

    def _refused(self, item: str, replica: Replica, refused: RefusedError) -> Exception:
        """What is to be raised: for the item, or for the run where no item will fare better."""
        if not refused.alone:
            self._strikes[refused.status].add(item)
        if isinstance(refused, RunRefusedError) or len(self._strikes[refused.status]) >= STRIKES:
            self._stopped = self._stopped or self._say.refused(replica.url, refused)
            return self._stopped
        return NotAnsweredError(f"the endpoint refused the request ({refused.status}): {refused.words}")

    async def _look(self, replica: Replica) -> int | EvoError:
        try:
            listed = await listing(replica.endpoint, self._scrub)
            serves = listed.serves(self.config.model)
            if serves is None:
                await self._try(replica)
        except FaultError as fault:
            # Returned, not raised: other endpoints may do. A refusal or a missing model is a mistake to mend at once.
            return self._say.fault(replica.url, fault)
        except RefusedError as refused:
            raise self._say.refused(replica.url, refused) from None
        if serves is False:
            raise self._say.not_served(replica.url, self._scrub(f"it serves: {listed.names()}"))
        return listed.windows.get(self.config.model) or 0

    async def _try(self, replica: Replica) -> None:
        """Ask a little, once.

        Raises:
            FaultError: there is no answer.
            RefusedError: there will be none.
        """
        sampling = self.config.sampling.replace(max_tokens=TRIAL_TOKENS)
        request = self._request([Message(role="user", content=TRIAL)], Trial, sampling)
        most, spent = self._most(request), Spent()
        # An answer to this request is kept nowhere: whether the endpoint answers is asked anew each time.
        await self._budget.reserve(request.call_id, most)
        try:
            tokens = count(request, await self._exchange(replica.endpoint, request))
            cost = self.config.price.of(tokens.prompt, tokens.completion)
            spent = Spent(calls=1, tokens=tokens.prompt + tokens.completion, cost=cost)
            await self._off_loop(self._ledger.charge, self._scope, spent)
        except FaultError as fault:
            spent = await self._charge(fault, most)
            raise
        finally:
            await self._budget.settle(request.call_id, most, spent)

    def _give_up_on_silence(self) -> None:
        silent, closed = self._replicas.silent_s(), self._replicas.closed_s()
        if silent > self.config.patience_s:
            self._stopped = self._say.silent(silent)
        elif closed > self.config.patience_s:
            self._stopped = self._say.closed(closed, self.config.patience_s)
        else:
            return
        raise self._stopped


def _body(request: TeacherRequest) -> bytes:
    """The request as the API takes it. No seed is sent unless one is set: vLLM's CPU engine dies of it."""
    sampling = request.sampling
    schema = {"name": "answer", "schema": json.loads(request.answer_schema), "strict": True}
    body = {
        "model": request.model,
        "messages": [message.model_dump() for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed + request.sample
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()

"""The work of one item: its context through all three stages, to rows that are committed together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from evoembedding.schemas.configs import TeachingConfig
from evoembedding.schemas.dataset import Failure, Outcome
from evoembedding.schemas.episode import Context, Document, Episode, Evidence, Question, Verdict
from evoembedding.schemas.ids import content_id
from evoembedding.schemas.made import Made
from evoembedding.schemas.moments import now
from evoembedding.schemas.secrets import scrubbed
from evoembedding.synth.contexts.dialogue import dialogue
from evoembedding.synth.contexts.memory import memory
from evoembedding.synth.contexts.web import NoContextError, web
from evoembedding.synth.evidence import annotate
from evoembedding.synth.fingerprints import Chain
from evoembedding.synth.questions import draw_types, question
from evoembedding.synth.taxonomy import QuestionType
from evoembedding.synth.teachers.asking import Asker, together
from evoembedding.synth.teachers.faults import NotAnsweredError
from evoembedding.synth.text import normalise
from evoembedding.synth.verification import DUPLICATE, episode, verdict, verify_question

FindDocument = Callable[[str], Document]


class Item(NamedTuple):
    """What one context is made from: `dialogue:17`, `web:doc-0a1b`, or `memory:` and one of these."""

    kind: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.source}"

    @classmethod
    def named(cls, name: str) -> Item:
        """The item of that name."""
        return cls(*name.split(":", 1))


class _Asked(NamedTuple):
    """One question's rows; or why there is none."""

    question: Question | None = None
    evidence: Evidence | None = None
    elected: Evidence | None = None
    verdicts: Sequence[Verdict] = ()
    failure: Failure | None = None


def items(config: TeachingConfig, document_ids: Iterable[str]) -> Iterator[Item]:
    """Every item of a config: personas and documents in turn, and memories of the configured share of both."""
    # By id, so that the first of them are the same in whatever order they were read.
    documents = sorted(document_ids)[: config.web.documents]
    for n in range(max(config.dialogue.personas, len(documents))):
        sources = [Item("dialogue", str(n))] if n < config.dialogue.personas else []
        sources += [Item("web", documents[n])] if n < len(documents) else []
        for source in sources:
            yield source
            # By its name, not by a draw in turn: more documents leave the choice of all others as it was.
            if _share(f"{config.seed}/{source.name}") < config.memory.share:
                yield Item("memory", source.name)


def _share(name: str) -> float:
    """A number of [0, 1) that only depends on the name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest()) / 2**56


async def make(
    asker: Asker,
    config: TeachingConfig,
    stages: dict[str, Chain],
    item: Item,
    scope: str,
    document: FindDocument,
    attempt: int = 1,
) -> Made:
    """The item's rows. Whatever could not be answered is a failure among them.

    Raises:
        EvoError: nothing can be answered any more, so that the item is not done.
    """
    chain = stages[item.kind]
    try:
        context = await _context(asker, config, stages, item, document)
    except (NotAnsweredError, NoContextError) as error:
        failure = _failure(chain, "contexts", item, "", error, attempt)
        return Made(failures=(failure,), outcomes=(_outcome(item, chain, scope, attempt, [], failed_contexts=1),))
    types = draw_types(context, config.questions, config.seed)
    asked = await together(
        [_ask(asker, config, chain, context, kind, n, item, attempt) for n, kind in enumerate(types)]
    )
    return _together(context, asked, chain, item, scope, attempt)


def broken(chain: Chain, item: Item, scope: str, error: Exception, attempt: int) -> Made:
    """The rows of an item whose answers did what was not foreseen: it fails alone, and may be retried."""
    reason = NotAnsweredError(f"{type(error).__name__}: {scrubbed(str(error))[:300]}")
    failure = _failure(chain, "contexts", item, "", reason, attempt)
    return Made(failures=(failure,), outcomes=(_outcome(item, chain, scope, attempt, [], failed_contexts=1),))


async def _context(
    asker: Asker, config: TeachingConfig, stages: dict[str, Chain], item: Item, document: FindDocument
) -> Context:
    stage = stages[item.kind].contexts.fingerprint
    if item.kind == "web":
        return web(document(item.source), config, stage)
    if item.kind == "dialogue":
        return await dialogue(asker, config, int(item.source), stage)
    # The same requests as the source's own item makes: answered once, by the ledger or while under way.
    source = Item.named(item.source)
    return await memory(asker, config, await _context(asker, config, stages, source, document), stage)


async def _ask(
    asker: Asker,
    config: TeachingConfig,
    chain: Chain,
    context: Context,
    kind: QuestionType,
    number: int,
    item: Item,
    attempt: int,
) -> _Asked:
    """One question through evidence and checks."""
    stage = "questions"
    try:
        asked = await question(asker, config, context, kind, number, chain.questions.fingerprint)
        stage = "evidence"
        evidence = await annotate(asker, config, context, asked, chain.evidence.fingerprint)
        stage = "verify"
        elected, verdicts = await verify_question(asker, config, context, asked, evidence, chain.verify.fingerprint)
    except NotAnsweredError as error:
        return _Asked(failure=_failure(chain, stage, item, kind.name, error, attempt))
    return _Asked(asked, evidence, elected, verdicts)


def _together(context: Context, asked: Sequence[_Asked], chain: Chain, item: Item, scope: str, attempt: int) -> Made:
    """The last word on each question: an episode, unless a check rejects it or an earlier one is the same."""
    stage = chain.verify.fingerprint
    seen: set[str] = set()
    verdicts: list[Verdict] = []
    episodes: list[Episode] = []
    done = [one for one in asked if one.question and one.elected]
    for one in done:
        assert one.question is not None and one.elected is not None
        key, ours = normalise(one.question.text), list(one.verdicts)
        first = next((v.check_name for v in ours if not v.passed), "")
        if not first:  # as `verification.verify` does for drafts: last, among those that passed all else
            repeated = key in seen
            ours.append(verdict(one.question, "duplicate", DUPLICATE if repeated else "", stage))
            first = "duplicate" if repeated else ""
            seen.add(key)
        kept = None if first else episode(context, one.question, one.elected, stage)
        verdicts += [*ours, verdict(one.question, "all", first, stage, kept.episode_id if kept else "")]
        episodes += [kept] if kept else []
    return Made(
        contexts=(context,),
        questions=tuple(one.question for one in done if one.question),
        evidence=tuple(one.evidence for one in done if one.evidence),
        verdicts=tuple(verdicts),
        episodes=tuple(episodes),
        failures=tuple(one.failure for one in asked if one.failure),
        outcomes=(_outcome(item, chain, scope, attempt, asked, context.context_id, accepted=len(episodes)),),
    )


def _outcome(
    item: Item,
    chain: Chain,
    scope: str,
    attempt: int,
    asked: Sequence[_Asked],
    context_id: str = "",
    accepted: int = 0,
    failed_contexts: int = 0,
) -> Outcome:
    failed = sum(one.failure is not None for one in asked)
    return Outcome(
        item=item.name,
        fingerprint=chain.verify.fingerprint,
        attempt=attempt,
        scope=scope,
        kind=item.kind,
        contexts=1 - failed_contexts,
        failed_contexts=failed_contexts,
        asked=len(asked),
        drafted=len(asked) - failed,
        failed=failed,
        accepted=accepted,
        rejected=len(asked) - failed - accepted,
        created_at=now(),
        context_id=context_id,
    )


def _failure(
    chain: Chain,
    stage: str,
    item: Item,
    question_type: str,
    error: NotAnsweredError | NoContextError,
    attempt: int,
) -> Failure:
    calls = error.calls if isinstance(error, NotAnsweredError) else ()
    # The last stage's fingerprint, whichever stage failed: `outcomes.failed` looks for that of the outcome.
    what = {"stage": stage, "fingerprint": chain.verify.fingerprint, "item": item.name, "question_type": question_type}
    return Failure(
        # With the attempt: a retry that fails in the same way is a row of its own.
        failure_id=content_id("fail", {**what, "attempt": attempt}),
        **what,
        retryable=isinstance(error, NotAnsweredError),
        reason=str(error),
        payload=json.dumps({"calls": calls}),
        attempts=attempt,
    )

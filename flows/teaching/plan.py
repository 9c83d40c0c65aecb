"""What a run of a recipe would do, and what it would cost: nothing is asked, the ledger is only read.

A home and a recipe come in; a row a stage and kind of context goes out, with counts and estimates.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from evoembedding.flows.pending import drafted_otherwise, pending_checks, pending_sources
from evoembedding.flows.teaching.known import Known
from evoembedding.flows.teaching.teach import Todo, all_items, documents, pending_items
from evoembedding.schemas.configs import Recipe, TeachingConfig
from evoembedding.schemas.episode import Record
from evoembedding.schemas.teacher import Price
from evoembedding.synth.checks import CHECKS
from evoembedding.synth.fingerprints import KINDS, STAGES, Drafted, chains
from evoembedding.synth.generators import offline
from evoembedding.synth.items import make
from evoembedding.synth.teachers.asking import Asker, ReadyTeacher
from evoembedding.synth.teachers.faults import NotAskedError
from evoembedding.synth.teachers.replay import Replay
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.documents.texts import count_usable
from evoembedding.warehouse.ledger import StoredLedger, open_ledger

SAMPLE = 200  # pending items of a kind that are replayed; more are estimated from these
# Tokens of a call where the ledger has no calls of the stage yet: a context of 1.3K tokens and a short answer.
ASSUMED = {"contexts": (500, 600), "questions": (1600, 120), "evidence": (1600, 80), "verify": (900, 40)}


class PlanRow(Record):
    """One stage for one kind of context. `calls` and what follows are estimates, exact when there are none."""

    kind: str
    stage: str
    fingerprint: str
    done: int  # items
    pending: int
    invalidated: int  # items done under other settings, among the pending
    because: tuple[str, ...]  # the components of the fingerprint that differ
    calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    hours: float | None = None  # by the calls a minute so far; None before there are any


def make_plan(home: Path, recipe: Recipe) -> list[PlanRow]:
    """A row a generator that works offline, and one for each stage and kind of context that teachers make."""
    with Warehouse.open(home) as warehouse:
        rows = _offline(warehouse, recipe)
        if recipe.teaching:
            ledger = open_ledger(home)
            rows += _taught(warehouse, ledger, recipe, recipe.teaching)
            ledger.close()
    return rows


PLANNED = ("kind", "stage", "done", "pending", "invalidated", "because", "calls", "tokens", "cost", "hours")


def plan_cells(rows: Sequence[PlanRow]) -> list[tuple[str, ...]]:
    """The rows as cells of the columns `PLANNED`, and a last one of what all come to."""
    cells = []
    for row in rows:
        hours = "" if row.hours is None else f"{row.hours:.2f}"
        counts = [str(row.done), str(row.pending), str(row.invalidated), ", ".join(row.because)]
        cells.append((row.kind, row.stage, *counts, str(row.calls), str(row.tokens), f"{row.cost:.4f}", hours))
    total = [str(sum(row.calls for row in rows)), str(sum(row.tokens for row in rows))]
    whole = [f"{sum(row.cost for row in rows):.4f}", f"{sum(row.hours or 0.0 for row in rows):.2f}"]
    return [*cells, ("all", "", "", "", "", "", *total, *whole)]


def _offline(warehouse: Warehouse, recipe: Recipe) -> list[PlanRow]:
    rows: list[PlanRow] = []
    known = Known(warehouse, recipe.name)
    for one in offline(recipe):
        generator, config = one.generator, one.config
        seeds = generator.source == "seeds"
        total = generator.seeds(config) if seeds else count_usable(warehouse)
        todo = set(pending_sources(warehouse, one))
        stale = len(drafted_otherwise(warehouse, one, known) & todo)
        rows += _drafted(warehouse, known, one.kind, one.stages, total - len(todo), len(todo), stale)
    return rows


def _drafted(
    warehouse: Warehouse, known: Known, kind: str, stages: Drafted, done: int, pending: int, stale: int
) -> Iterator[PlanRow]:
    """A row for what is to be drafted, and one for what is to be checked: that too, and what older checks have seen."""
    for stage, more in ((stages.drafts, 0), (stages.verify, len(pending_checks(warehouse, stages)))):
        yield PlanRow(
            kind=kind,
            stage=stage.name,
            fingerprint=stage.fingerprint,
            done=done - more,
            pending=pending + more,
            invalidated=stale + more,
            because=known.because(stage) if stale + more else (),
        )


def _taught(warehouse: Warehouse, ledger: StoredLedger, recipe: Recipe, config: TeachingConfig) -> list[PlanRow]:
    every = all_items(warehouse, config)
    todo = pending_items(warehouse, recipe)
    known = Known(warehouse, recipe.name)
    rows: list[PlanRow] = []
    for kind in KINDS:
        names = {item.name for item in every if item.kind == kind}
        of_kind = [one for one in todo if one.item.kind == kind]
        # From all of them evenly: a run that was broken off has answers for the first ones.
        sample = of_kind[:: max(1, len(of_kind) // SAMPLE)]
        missing = asyncio.run(_missing(warehouse, ledger, recipe, config, sample)) if sample else Counter[str]()
        scale = len(of_kind) / len(sample) if sample else 0.0
        for stage in chains(config)[kind]:
            done = known.done(stage) & names
            stale = known.tried(kind) & names - done
            calls = round(missing[stage.name] * scale)
            rows.append(
                PlanRow(
                    kind=kind,
                    stage=stage.name,
                    fingerprint=stage.fingerprint,
                    done=len(done),
                    pending=len(names) - len(done),
                    invalidated=len(stale),
                    because=known.because(stage) if stale else (),
                    calls=calls,
                    **_estimates(ledger, recipe.name, config, stage.name, calls),
                )
            )
    return rows


async def _missing(
    warehouse: Warehouse, ledger: StoredLedger, recipe: Recipe, config: TeachingConfig, sample: Sequence[Todo]
) -> Counter[str]:
    """Calls by stage that the sample still needs: none for an item whose every answer is in the ledger."""
    usual = _usual(ledger.pace(recipe.name), config)
    stages, document = chains(config), documents(warehouse)
    missing: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        replays = [Replay(c, ledger, recipe.name) for c in config.teachers]
        for replay in replays:
            await stack.enter_async_context(replay)
        teachers = {replay.config.name: ReadyTeacher(replay) for replay in replays}
        for item, attempt in sample:
            for replay in replays:
                replay.held.clear()
            asker = Asker(teachers, config, item.name, attempt)
            try:
                await make(asker, config, stages, item, recipe.name, document, attempt)
            except NotAskedError:
                held: Counter[str] = sum((replay.held for replay in replays), Counter())
                of_kind = usual[item.kind]
                # The replay stops at the first answer that is not there: what comes after it is estimated.
                missing.update({stage: max(0, round(of_kind[stage] - held[stage])) for stage in STAGES})
    return missing


def _usual(pace: dict[str, dict[str, float]], config: TeachingConfig) -> dict[str, dict[str, float]]:
    """Calls an item by kind and stage: as it was so far, or by the settings."""
    lengths, asked = config.lengths.mean_segments, config.questions.a_context
    written, planned = config.dialogue.events_a_call, config.dialogue.events_a_plan
    contexts = {"dialogue": -(-lengths // planned) + -(-lengths // written), "web": 0.0}
    contexts["memory"] = -(-lengths // config.memory.segments_a_call)
    later = {
        "questions": float(asked),
        "evidence": float(asked * (len(config.annotators) or 1)),
        "verify": asked * sum(check.calls(config.verify) for check in CHECKS.values()),
    }
    seen = {stage: pace[stage]["calls_an_item"] for stage in later if stage in pace}
    return {kind: {"contexts": contexts[kind], **later, **seen} for kind in KINDS}


def _estimates(
    ledger: StoredLedger, scope: str, config: TeachingConfig, stage: str, calls: int
) -> dict[str, int | float | None]:
    pace = ledger.pace(scope)
    prompt, completion = ASSUMED[stage]
    if stage in pace:
        prompt, completion = round(pace[stage]["prompt_tokens"]), round(pace[stage]["completion_tokens"])
    minute = pace[stage]["calls_a_minute"] if stage in pace else 0.0
    price = _price(config, stage)
    return {
        "tokens": calls * (prompt + completion),
        "cost": calls * price.of(prompt, completion),
        "hours": calls / minute / 60 if minute else None,
    }


def _price(config: TeachingConfig, stage: str) -> Price:
    """The mean price of the teachers that a stage asks."""
    first = config.teachers[0].name
    names = {
        "contexts": (config.writer or first,),
        "questions": config.askers or (first,),
        "evidence": config.annotators or (first,),
        "verify": (config.judge or first,),
    }[stage]
    prices = [teacher.price for name in names for teacher in config.teachers if teacher.name == name]
    return Price(
        prompt=sum(p.prompt for p in prices) / len(prices), completion=sum(p.completion for p in prices) / len(prices)
    )

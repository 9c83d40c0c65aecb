"""Teach: the three stages for every pending item, in one event loop, committed every few seconds.

An item is done when its outcome is committed. What is pending is found by that; answers that were already given come
from the ledger, so that a killed run goes on where it stopped and a changed stage asks only what is new.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from evoembedding.flows.teaching.counts import Progress, Report
from evoembedding.flows.terminal.interrupt import stopped_by
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import Recipe, TeachingConfig
from evoembedding.schemas.dataset import StageFingerprint
from evoembedding.schemas.episode import Document
from evoembedding.schemas.errors import EvoError, InterruptionError
from evoembedding.schemas.ids import canonical
from evoembedding.schemas.made import Made
from evoembedding.schemas.moments import now
from evoembedding.synth.fingerprints import Chain, Stage, chains
from evoembedding.synth.items import Item, broken, items, make
from evoembedding.synth.teachers.asking import Asker, ReadyTeacher
from evoembedding.synth.teachers.shared_budget import shared_budget
from evoembedding.synth.teachers.teacher import Teacher
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets import outcomes
from evoembedding.warehouse.datasets.commit import commit
from evoembedding.warehouse.documents.texts import HELD
from evoembedding.warehouse.ledger import StoredLedger, open_ledger

COMMIT_EVERY_S = 3.0
ITEMS_A_COMMIT = 200
DOCUMENTS_A_READ = 64
UNDER_WAY_S = 1.5  # for answers that are on their way when a user interrupts
OURS = (EvoError, OSError, duckdb.Error)  # faults that no item has caused
Keep = Callable[[list[Made]], int]  # takes what was made; how many episodes of it are new


class Todo(NamedTuple):
    """An item to work on, and which attempt this is."""

    item: Item
    attempt: int


def all_items(warehouse: Warehouse, config: TeachingConfig) -> list[Item]:
    """Every item of the config, over the documents whose texts are here and that sources hold, but for withdrawn ones.

    No other document takes their place: a withdrawal makes nothing pending.
    """
    every = items(config, warehouse.query(f"{HELD} AND text <> ''")["document_id"])
    gone = _withdrawn_items(warehouse, config)
    return [item for item in every if not {item.name, item.source} & gone]


def _withdrawn_items(warehouse: Warehouse, config: TeachingConfig) -> set[str]:
    """The items of withdrawn documents, and those whose contexts were withdrawn; memories have them as their source."""
    marks = [chain.contexts.fingerprint for chain in chains(config).values()]
    rows = warehouse.query(
        """SELECT 'web' AS kind, source FROM withdrawals WHERE kind = 'document'
           UNION SELECT kind, CASE kind WHEN 'web' THEN document_ids[1] ELSE seed::VARCHAR END FROM contexts
           WHERE kind <> 'memory' AND list_contains(?::VARCHAR[], fingerprint)
             AND context_id IN (SELECT source FROM withdrawals WHERE kind = 'context')""",
        (marks,),
    )
    return {Item(kind, source).name for kind, source in rows.iter_rows()}


def pending_items(warehouse: Warehouse, recipe: Recipe, retry: bool = False) -> list[Todo]:
    """The items without an outcome under the recipe's stages; with `retry`, only those with failures."""
    assert recipe.teaching is not None
    last = [chain.verify.fingerprint for chain in chains(recipe.teaching).values()]
    tried = outcomes.attempts(warehouse, recipe.name)
    every = all_items(warehouse, recipe.teaching)
    if retry:
        again = outcomes.failed(warehouse, last)
        return [Todo(item, tried[item.name] + 1) for item in every if item.name in again]
    done = outcomes.done(warehouse, last)
    return [Todo(item, tried.get(item.name, 1)) for item in every if item.name not in done]


def teach(home: Path, recipe: Recipe, todo: Sequence[Todo], report: Report) -> int:
    """Work on the items and commit what is made; how many episodes are new.

    Raises:
        EvoError: the run had to stop (budget, key, endpoint, interruption). What was done is committed.
    """
    assert recipe.teaching is not None
    with Warehouse.open(home) as warehouse, closing(open_ledger(home)) as ledger:
        try:
            record_stages(warehouse, recipe.name, (s for chain in chains(recipe.teaching).values() for s in chain))
            return make_items(warehouse, ledger, recipe, todo, report, lambda batch: commit(warehouse, batch))
        finally:
            # However the run ended: what was committed names its calls, and lineage looks for them in the warehouse.
            outcomes.copy_calls(warehouse, ledger, recipe.name)


def make_items(
    warehouse: Warehouse, ledger: StoredLedger, recipe: Recipe, todo: Sequence[Todo], report: Report, keep: Keep
) -> int:
    """Work on the items and hand what is made to `keep`, which says how many episodes of it are new; their sum.

    Raises:
        EvoError: as `teach`. What was done was handed over.
    """
    assert recipe.teaching is not None
    if ledger.remote:
        todo = in_an_order_of_ones_own(todo)
    return asyncio.run(_Run(warehouse, ledger, recipe, recipe.teaching, todo, report, keep).run())


def in_an_order_of_ones_own(todo: Sequence[Todo]) -> list[Todo]:
    """The items as one of several drivers takes them: in the same order all would wait for the same answers.

    By blocks, since documents are read with those that follow them.
    """
    blocks = [todo[start : start + DOCUMENTS_A_READ] for start in range(0, len(todo), DOCUMENTS_A_READ)]
    random.shuffle(blocks)
    return [one for block in blocks for one in block]


def documents(warehouse: Warehouse) -> Callable[[str], Document]:
    """Reads documents by id, the next ones along with each, since items come in their order."""
    held: dict[str, Document] = {}

    def read(document_id: str) -> Document:
        if document_id not in held:
            rows = warehouse.query(
                "SELECT * FROM documents WHERE document_id >= ? ORDER BY document_id LIMIT ?",
                (document_id, DOCUMENTS_A_READ),
            )
            # All at once: items come in the order of ids, so that few of them are read again.
            if len(held) > 4 * DOCUMENTS_A_READ:
                held.clear()
            held.update({row["document_id"]: Document(**row) for row in rows.iter_rows(named=True)})
        return held[document_id]

    return read


class _Run:
    """The state of one run of `teach`."""

    def __init__(
        self,
        warehouse: Warehouse,
        ledger: StoredLedger,
        recipe: Recipe,
        config: TeachingConfig,
        todo: Sequence[Todo],
        report: Report,
        keep: Keep,
    ) -> None:
        self.ledger, self.config, self.scope = ledger, config, recipe.name
        self.todo, self.report, self.keep = todo, report, keep
        self.stages: dict[str, Chain] = chains(config)
        self.teachers: dict[str, ReadyTeacher] = {}
        self.budget = shared_budget(ledger, config.budget, recipe.name)
        self.document = documents(warehouse)
        self.finished: list[Made] = []
        self.error: BaseException | None = None
        self.worked = False
        self.interrupted = asyncio.Event()
        self.done = self.accepted = self.failed = self.episodes = 0
        self.rejected: Counter[str] = Counter()
        self.began, self.tokens_before = time.monotonic(), self.budget.spent.tokens

    async def run(self) -> int:
        async with AsyncExitStack() as stack:
            for config in self.config.teachers:
                teacher = await stack.enter_async_context(Teacher(config, self.ledger, self.scope, shared=self.budget))
                self.teachers[config.name] = ReadyTeacher(teacher, await teacher.check())
            # As many items at once as calls may be in flight: each worker waits for one call at least.
            places = sum(c.max_in_flight * len(c.endpoints) for c in self.config.teachers)
            # One iterator for all: each worker takes the next item when it is free.
            queue = iter(self.todo)
            workers = [asyncio.create_task(self._work(queue)) for _ in range(min(len(self.todo), places))]
            committing = asyncio.create_task(self._commit_at_times())
            loop = asyncio.get_running_loop()
            # A signal may come while the loop sleeps; a call by this way wakes it.
            with stopped_by(lambda: loop.call_soon_threadsafe(self._interrupted)):
                await self._until_done(asyncio.gather(*workers))
                self.worked = True
                await committing
        if self.error is not None:
            raise self.error
        return self.episodes

    async def _work(self, queue: Iterator[Todo]) -> None:
        for item, attempt in queue:
            if self.error is not None:
                return
            asker = Asker(self.teachers, self.config, item.name, attempt)
            try:
                made = await make(asker, self.config, self.stages, item, self.scope, self.document, attempt)
            except OURS as error:
                self._stop(error)
                return
            except Exception as error:
                made = broken(self.stages[item.kind], item, self.scope, error, attempt)
            self._count(made)
            self.finished.append(made)

    def _stop(self, error: BaseException) -> None:
        """Ask nothing more. Calls under way are waited for: they are paid."""
        self.error = self.error or error
        for ready in self.teachers.values():
            ready.teacher.stop(error if isinstance(error, EvoError) else EvoError(f"the run stopped: {error}"))

    def _interrupted(self) -> None:
        self.interrupted.set()
        self._stop(
            InterruptionError("interrupted; what was done is kept, and answers are in the ledger; rerun to go on")
        )

    async def _until_done(self, working: asyncio.Future[list[None]]) -> None:
        """Wait for the items; after an interruption for as long as a user will wait for answers that are paid."""
        interruption = asyncio.create_task(self.interrupted.wait())
        either: set[asyncio.Future[Any]] = {working, interruption}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        interruption.cancel()
        if not working.done():
            await asyncio.wait({working}, timeout=UNDER_WAY_S)
            working.cancel()
        with suppress(asyncio.CancelledError):
            await working

    def _count(self, made: Made) -> None:
        self.done += 1
        self.accepted += sum(one.accepted for one in made.outcomes)
        self.failed += sum(one.failed + one.failed_contexts for one in made.outcomes)
        self.rejected.update(v.reason for v in made.verdicts if v.check_name == "all" and not v.passed)

    async def _commit_at_times(self) -> None:
        last = False
        while not last:
            due = time.monotonic() + COMMIT_EVERY_S
            while time.monotonic() < due and len(self.finished) < ITEMS_A_COMMIT and not self.worked:
                await asyncio.sleep(0.05)
            # Asked before the commit: what is finished while it runs is for one more round.
            last = self.worked
            try:
                await self._commit()
            except Exception as error:
                self._stop(error)

    async def _commit(self) -> None:
        batch, self.finished = self.finished, []
        if batch:
            # In a thread: in the loop, a commit would hold up every call in flight.
            self.episodes += await asyncio.to_thread(self.keep, batch)
        self.report(self.progress())

    def progress(self) -> Progress:
        seconds = time.monotonic() - self.began
        spent = self.budget.spent
        return Progress(
            total=len(self.todo),
            done=self.done,
            accepted=self.accepted,
            rejected=self.rejected,
            failed=self.failed,
            spent=spent,
            seconds=seconds,
            tokens_a_second=(spent.tokens - self.tokens_before) / max(seconds, 1e-9),
            in_flight=sum(ready.teacher.in_flight for ready in self.teachers.values()),
        )


def record_stages(warehouse: Warehouse, scope: str, stages: Iterable[Stage]) -> None:
    """What the fingerprints stand for, so that plans and diffs can name what changed."""
    recorded = now()
    rows = [
        StageFingerprint(
            fingerprint=stage.fingerprint,
            stage=stage.name,
            kind=stage.kind,
            scope=scope,
            components=canonical(stage.components).decode(),
            before=stage.before,
            created_at=recorded,
        )
        for stage in stages
    ]
    warehouse.append("fingerprints", to_frame(StageFingerprint, rows))

"""Where a home stands: what runs, is pending, newest, in use and decided, and what teachers were paid.

Nothing is started and nothing changed: it is read from locks, tables, the ledger, and a Prefect server that is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pydantic import ValidationError

from evoembedding.flows.alone import RETRAINING, SYNTHESIS
from evoembedding.flows.pending import Only, todo_items, work
from evoembedding.schemas.budget import Paid
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Record
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.identity import stored
from evoembedding.schemas.leases import held_alone
from evoembedding.schemas.moments import Moment, now
from evoembedding.schemas.registry import CHAMPION
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import list_versions
from evoembedding.warehouse.ledger import ledger_is_there, open_ledger
from evoembedding.warehouse.registry.decisions import last_decisions
from evoembedding.warehouse.registry.labels import names
from evoembedding.warehouse.registry.states import standings

FLOW = "retry"  # what makes items again that are pending as unanswered


class Running(Record):
    """What is at work in the home: a `job` (retrain, synthesize, train) on a `subject` (model, recipe, run)."""

    job: str
    subject: str


class Pending(Record):
    """Items that a recipe has yet to work on, by what they are and the stage that comes next.

    `recipe` is that of a dataset's newest version. `retry` is the stage of items that teachers left unanswered.
    """

    dataset: str
    recipe: str
    kind: str
    stage: str
    items: int


class Newest(Record):
    """The newest version of a dataset."""

    name: str
    label: str
    episodes: int
    created_at: Moment


class InUse(Record):
    """A name of models: its newest version, its champion, and what the last gate found; '' and None for none."""

    name: str
    newest: str
    newest_at: Moment
    champion: str
    champion_model: str
    gated: str  # the version that the last gate judged
    gate: str
    gate_at: Moment | None


class Decided(Record):
    """The last decision whether a model of a name is trained again, and what came of it; '' where it has not ended."""

    name: str
    decision: str
    outcome: str
    why: str
    at: Moment


class Yield(Record):
    """Questions of a generator: drafted, and kept as episodes."""

    generator: str
    drafted: int
    kept: int


class Status(Record):
    """All of it, at a moment."""

    home: str
    at: Moment
    running: tuple[Running, ...]
    pending: tuple[Pending, ...]
    datasets: tuple[Newest, ...]
    models: tuple[InUse, ...]
    decisions: tuple[Decided, ...]
    yields: tuple[Yield, ...]
    paid: tuple[Paid, ...]


def status(home: Path) -> Status:
    """Where the home stands now.

    Raises:
        EvoError: the home is damaged.
    """
    with Warehouse.open(home) as warehouse:
        newest = {version.name: version for version in list_versions(warehouse)}
        return Status(
            home=str(home),
            at=now(),
            running=tuple(_running(home)),
            pending=tuple(one for version in newest.values() for one in _pending(warehouse, version)),
            datasets=tuple(
                Newest(name=one.name, label=one.label, episodes=one.episodes, created_at=one.created_at)
                for one in newest.values()
            ),
            models=tuple(_in_use(warehouse, name) for name in names(warehouse)),
            decisions=tuple(
                Decided(
                    name=one.name,
                    decision=one.decision,
                    outcome=one.outcome,
                    why="; ".join(one.reasons),
                    at=one.created_at,
                )
                for one in last_decisions(warehouse)
            ),
            yields=tuple(_yields(warehouse)),
            paid=tuple(_paid(home)),
        )


def _running(home: Path) -> Iterator[Running]:
    # A lock file may outlast its run, as of one that was killed: only a run that holds it is at work.
    for job, lock in (("retrain", RETRAINING), ("synthesize", SYNTHESIS)):
        before, after = lock.split("{}")
        for path in sorted(home.glob(lock.format("*"))):
            if held_alone(path):
                yield Running(job=job, subject=path.name.removeprefix(before).removesuffix(after))
    for path in sorted(home.glob("runs/*/lock")):
        if held_alone(path):
            yield Running(job="train", subject=path.parent.name)


def _pending(warehouse: Warehouse, version: DatasetVersion) -> Iterator[Pending]:
    """By the recipe that the version was published with; nothing of one that was imported."""
    try:
        recipe = stored(Recipe, version.recipe)
        todo = work(warehouse, recipe)
    except (ValidationError, EvoError):  # of a generator that is not there any more
        return
    counts: Counter[tuple[str, str]] = Counter()
    for one, contexts in todo.checks:
        counts[one.kind, one.stages.verify.name] += len(contexts)
    for one, sources in todo.sources:
        counts[one.kind, one.stages.drafts.name] += len(sources)
    counts.update((item.item.kind, "teach") for item in todo.items)
    # Asked apart: items that failed have an outcome, and so are not pending.
    if recipe.teaching:
        counts.update((item.item.kind, FLOW) for item in todo_items(warehouse, recipe, Only(failed=True)))
    for (kind, stage), items in counts.items():
        if items:
            yield Pending(dataset=version.name, recipe=recipe.name, kind=kind, stage=stage, items=items)


def _in_use(warehouse: Warehouse, name: str) -> InUse:
    found = standings(warehouse, name)
    champion = next((one for one in found if CHAMPION in one.aliases), None)
    gates = [(one.gate.rows[0].created_at, one) for one in found if one.gate]
    at, gated = max(gates, key=lambda pair: pair[0], default=(None, None))
    return InUse(
        name=name,
        newest=found[-1].version.label,
        newest_at=found[-1].version.created_at,
        champion=champion.version.label if champion else "",
        champion_model=champion.version.model_id if champion else "",
        gated=gated.version.label if gated else "",
        gate=gated.gate.outcome if gated and gated.gate else "",
        gate_at=at,
    )


def _yields(warehouse: Warehouse) -> Iterator[Yield]:
    # DISTINCT, since a question has an episode for each evidence that it was accepted with.
    rows = warehouse.query(
        """SELECT generator, count(*) AS drafted, count(e.question_id) AS kept FROM lake.questions
           LEFT JOIN (SELECT DISTINCT question_id FROM lake.episodes) e USING (question_id)
           GROUP BY generator ORDER BY generator"""
    )
    for row in rows.iter_rows(named=True):
        yield Yield(**row)


def _paid(home: Path) -> list[Paid]:
    # Opening it would make one, and nothing is changed here.
    if not ledger_is_there(home):
        return []
    with closing(open_ledger(home)) as ledger:
        return ledger.paid()

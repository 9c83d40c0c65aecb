"""Synthesize: documents and simulated worlds -> contexts, questions, evidence, verdicts and episodes.

Each partition is one task that commits once. What is pending is found by anti-join, so a killed run goes on where
it stopped and a finished one does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from evoembedding.flows.alone import alone
from evoembedding.flows.lineage_events import emits, reads, writes
from evoembedding.flows.parameters import THE_WORKERS, Home, RecipeParameter, by_name
from evoembedding.flows.pending import EVERYTHING, Only, chosen, todo_items, work
from evoembedding.flows.progress import following, tell
from evoembedding.flows.teaching.serve_teacher import with_servers
from evoembedding.flows.teaching.synthesis_report import report_path, synthesis_report
from evoembedding.flows.teaching.teach import record_stages, teach
from evoembedding.flows.teaching.unanswered import nothing_made, unanswered
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.dataset import Failure
from evoembedding.schemas.episode import Draft
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import write_whole
from evoembedding.schemas.ids import content_id
from evoembedding.schemas.made import Made
from evoembedding.synth.generators import GENERATORS
from evoembedding.synth.verification import verify
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.commit import commit
from evoembedding.warehouse.datasets.drafts import read_drafts
from evoembedding.warehouse.datasets.funnel import assert_balanced, funnel
from evoembedding.warehouse.documents.texts import documents_of
from evoembedding.warehouse.ledger import open_ledger
from evoembedding.warehouse.lineage.withdrawal_marks import withdrawn_ids
from evoembedding.warehouse.openlineage import assets

T = TypeVar("T")
A_PARTITION = {"seeds": 2000, "documents": 100, "contexts": 2000}  # what a task commits at once
MADE = ("contexts", "questions", "evidence", "verdicts", "episodes")


def commit_drafts(warehouse: Warehouse, drafts: Iterable[Draft], failures: Sequence[Failure] = ()) -> int:
    """Check the drafts and append everything they hold in one transaction; the number of new episodes."""
    seen: set[str] = set()
    return commit(warehouse, [*(verify(draft, seen) for draft in drafts), Made(failures=tuple(failures))])


@task(persist_result=False)
def verify_partition(home: Path, drafts: str, context_ids: list[str]) -> int:
    """Put stored drafts to the checks of today: nothing is generated anew."""
    with Warehouse.open(home) as warehouse:
        return commit_drafts(warehouse, read_drafts(warehouse, drafts, context_ids))


@task(persist_result=False, task_run_name="draft {kind} from {sources[0]}")
def draft_partition(home: Path, name: str, config: Any, sources: list[Any], kind: str) -> int:
    """Draft from these seeds or documents and commit it; a document without any draft is a failure with a reason.

    Args:
        kind: what the task is called by.
    """
    generator = GENERATORS[name]
    with Warehouse.open(home) as warehouse:
        if generator.source == "seeds":
            assert generator.from_seeds is not None
            return commit_drafts(warehouse, generator.from_seeds(config, sources))
        assert generator.from_document is not None
        drafts: list[Draft] = []
        failures: list[Failure] = []
        for document in documents_of(warehouse, sources):
            of_document = list(generator.from_document(config, document))
            drafts += of_document
            # Recorded, so that no run drafts from it again under these settings.
            if not of_document:
                what = {"stage": name, "fingerprint": generator.fingerprint(config), "item": document.document_id}
                reason = {"reason": generator.nothing, "payload": "", "attempts": 1}
                failures.append(Failure(failure_id=content_id("fail", what), **what, **reason))
        return commit_drafts(warehouse, drafts, failures)


@flow(name="synthesize", persist_result=True, result_serializer="json")
@emits("synthesize", of="recipe")
def synthesize(
    recipe: RecipeParameter = by_name("demo"),
    only: list[str] | None = None,
    create_home: bool = False,
    home: Home = THE_WORKERS,
) -> dict[str, Any]:
    """Make what the recipe lacks; the number of new episodes. A second run of a recipe waits for the first.

    Args:
        recipe: The name of a recipe, a file, or its settings.
        only: What of it: 'failed' (left unanswered by teachers), 'invalidated' (made under other settings), ids of
            documents; by default everything.
        create_home: Make the home if it does not exist.
        home: The state folder; by default `$EVO_HOME` of the worker.

    Raises:
        EvoError: the funnel does not balance.
    """
    # What is pending is looked for under the lock: else two runs would take up the same, and pay for both.
    with alone(home, recipe.name):
        with Warehouse.open(home) as warehouse:
            part = chosen(warehouse, recipe, only or ())
        new = _draft(home, recipe, part)
        if recipe.teaching:
            new += ask_teachers(home, recipe, part)
    with Warehouse.open(home) as warehouse:
        assert_balanced(warehouse)
        table = funnel(warehouse)
        writes(*assets.tables(MADE, warehouse.snapshot(), {"episodes": new}))
    if table.is_empty():
        raise EvoError("nothing was synthesized: no documents and no simulated contexts; run 'evo ingest PATH' first")
    create_markdown_artifact(key="funnel", markdown=f"```\n{table}\n```", description="Questions in, kept and rejected")
    return {"recipe": recipe.name, "new_episodes": new}


def _draft(home: Path, recipe: Recipe, only: Only) -> int:
    """What generators without a teacher make and check; the number of new episodes."""
    new = 0
    with Warehouse.open(home) as warehouse:
        # Before anything is drafted: new drafts are put to the checks as they are committed.
        todo = work(warehouse, recipe.replace(teaching=None), only)
        if any(one.generator.source == "documents" for one, _ in todo.sources):
            reads(assets.table("documents", warehouse.snapshot()))
        record_stages(warehouse, recipe.name, (stage for one, _ in todo.sources for stage in one.stages))
    # The warehouse is closed by now: each task opens it itself, also where a runner puts it in another process.
    for one, contexts in todo.checks:
        for chunk, done in _partitions(contexts, "contexts"):
            new += verify_partition(home, one.stages.drafts.fingerprint, chunk)
            tell(f"synthesize: verified {one.kind} contexts {done}/{len(contexts)}, {new} new episodes")
    for one, sources in todo.sources:
        if sources:
            tell(f"synthesize: {one.kind}: {len(sources)} {one.generator.source} to draft from")
        for chunk, done in _partitions(sources, one.generator.source):
            new += draft_partition(home, one.generator.name, one.config, chunk, one.kind)
            tell(f"synthesize: {one.kind} {one.generator.source} {done}/{len(sources)}, {new} new episodes")
    return new


def _partitions(items: list[T], of: str) -> Iterator[tuple[list[T], int]]:
    """The items of a task after the other, and how many are then done."""
    for offset in range(0, len(items), A_PARTITION[of]):
        chunk = items[offset : offset + A_PARTITION[of]]
        yield chunk, offset + len(chunk)


@flow(name="retry", persist_result=True, result_serializer="json")
@emits("retry", of="recipe")
def retry(recipe: RecipeParameter = by_name("taught"), home: Home = THE_WORKERS) -> dict[str, Any]:
    """Ask once more what teachers left unanswered, and nothing else; the number of new episodes.

    Args:
        recipe: The name of a recipe, a file, or its settings.
        home: The state folder; by default `$EVO_HOME` of the worker.

    Raises:
        EvoError: the recipe has no teacher.
    """
    if recipe.teaching is None:
        raise EvoError(f"recipe '{recipe.name}' has no teacher, so nothing can be retried; name one that has")
    with alone(home, recipe.name):
        new = ask_teachers(home, recipe, Only(failed=True))
    return {"recipe": recipe.name, "new_episodes": new}


@task(persist_result=False)
def ask_teachers(home: Path, recipe: Recipe, only: Only = EVERYTHING) -> int:
    """What is pending of items, by all stages; the new episodes. The caller is the only run of the recipe.

    Raises:
        EvoError: a teacher's model was withdrawn, or teachers answered nothing that is of use.
    """
    with Warehouse.open(home) as warehouse:
        refuse_withdrawn(warehouse, recipe)
        todo = todo_items(warehouse, recipe, only)
        reads(assets.table("documents", warehouse.snapshot()), *_teachers(recipe))
    if not todo:
        tell("teach: nothing is pending")
        return 0
    with following() as report, with_servers(recipe, home) as ready:
        try:
            new = teach(home, ready, todo, report)
        finally:
            # However it ended: what was made until then is kept, and is told.
            left = _report(home, recipe)
    with Warehouse.open(home) as warehouse:
        # What is left unanswered in part is told by the command; of nothing at all the flow fails too.
        if left and nothing_made(warehouse, recipe, [one.item.name for one in todo]):
            raise EvoError(f"teachers gave no usable answer: {left}")
    return new


def _teachers(recipe: Recipe) -> list[assets.Asset]:
    return [assets.teacher(teacher) for teacher in recipe.teaching.teachers] if recipe.teaching else []


def refuse_withdrawn(warehouse: Warehouse, recipe: Recipe) -> None:
    """Ask no teacher whose model was withdrawn.

    Raises:
        EvoError: it was.
    """
    assert recipe.teaching is not None
    gone = withdrawn_ids(warehouse, "teacher model") & {teacher.model for teacher in recipe.teaching.teachers}
    if gone:
        raise EvoError(
            f"teacher model '{min(gone)}' was withdrawn; nothing was asked, since nothing made of its answers can be "
            "published; name another --model"
        )


def _report(home: Path, recipe: Recipe) -> str:
    """What all runs of the recipe have made, as a file and in Prefect; and what is left unanswered, in a sentence."""
    with Warehouse.open(home) as warehouse:
        left = unanswered(warehouse, recipe)
        writes(*assets.tables((*MADE, "teacher_calls"), warehouse.snapshot()))
        with closing(open_ledger(home)) as ledger:
            text = synthesis_report(warehouse, recipe, ledger.spent(recipe.name))
    if left:
        tell(f"teach: {left}")
    write_whole(report_path(home, recipe), text)
    create_markdown_artifact(key="synthesis", markdown=text, description=f"What '{recipe.name}' has made")
    return left

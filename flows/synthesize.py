"""Synthesize: documents and simulated worlds -> contexts, questions, evidence, verdicts and episodes.

Each partition is one task that commits once. What is pending is found by anti-join, so a killed run goes on where
it stopped and a finished one does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from evoembedding.flows.lineage_events import emits, reads, writes
from evoembedding.flows.progress import following, tell
from evoembedding.flows.teaching.serve_teacher import served
from evoembedding.flows.teaching.synthesis_report import report_path, synthesis_report
from evoembedding.flows.teaching.teach import alone, pending_items, record_stages, teach
from evoembedding.flows.teaching.unanswered import nothing_made, unanswered
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import ClozeConfig, Recipe, SimulatorConfig
from evoembedding.schemas.dataset import Failure
from evoembedding.schemas.episode import Context, Document, Draft, Episode, Evidence, Question, Verdict
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import write_whole
from evoembedding.schemas.ids import content_id
from evoembedding.synth import cloze, simulator
from evoembedding.synth.checks import verify
from evoembedding.synth.fingerprints import Drafted, chains, offline
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.drafts import drafted_documents, drafted_seeds, read_drafts, unverified
from evoembedding.warehouse.datasets.funnel import assert_balanced, funnel
from evoembedding.warehouse.datasets.versions import EpisodeFilter
from evoembedding.warehouse.documents.texts import USABLE
from evoembedding.warehouse.ledger import SqliteLedger
from evoembedding.warehouse.lineage.withdrawal_marks import withdrawn_ids
from evoembedding.warehouse.openlineage import assets

CONTEXTS_A_PARTITION = 2000
DOCUMENTS_A_PARTITION = 100
MADE = ("contexts", "questions", "evidence", "verdicts", "episodes")


def simulators(recipe: Recipe) -> tuple[SimulatorConfig, SimulatorConfig]:
    """The recipe's training simulator and its held-out one: other fillers, other paraphrases."""
    train = recipe.simulator
    return train, train.replace(split="heldout", contexts=recipe.heldout_contexts)


def made_by(recipe: Recipe) -> EpisodeFilter:
    """The training episodes that this recipe's stages make."""
    free = [stages.verify for stages in offline([recipe.simulator], [recipe.cloze] if recipe.cloze else [])]
    taught = [stages.verify for stages in chains(recipe.teaching).values()] if recipe.teaching else []
    return EpisodeFilter(split="train", verified=tuple(stage.fingerprint for stage in (*free, *taught)))


def drafting(recipe: Recipe) -> list[Drafted]:
    """The stages of the recipe's offline generators."""
    return offline(simulators(recipe), [recipe.cloze] if recipe.cloze else [])


def pending_seeds(warehouse: Warehouse, config: SimulatorConfig) -> list[int]:
    """Indices of the simulated contexts that are not yet drafted."""
    return sorted(set(range(config.contexts)) - drafted_seeds(warehouse, simulator.fingerprint(config)))


def pending_documents(warehouse: Warehouse, config: ClozeConfig | None) -> list[str]:
    """Ids of the usable documents that have neither a cloze context nor a recorded failure under this config."""
    if config is None:
        return []
    left = warehouse.query(
        f"{USABLE} AND document_id NOT IN (SELECT item FROM failures WHERE stage = 'cloze' AND fingerprint = ?)",  # noqa: S608
        (cloze.fingerprint(config),),
    )["document_id"]
    return sorted(set(left) - drafted_documents(warehouse, cloze.fingerprint(config)))


def pending_checks(warehouse: Warehouse, stages: Drafted) -> list[str]:
    """Ids of the drafted contexts that the checks of today have not seen."""
    return unverified(warehouse, stages.drafts.fingerprint, stages.verify.fingerprint)


def pending(warehouse: Warehouse, recipe: Recipe) -> int:
    """How many contexts and documents a run of this recipe would still work on."""
    seeds = sum(len(pending_seeds(warehouse, config)) for config in simulators(recipe))
    unchecked = sum(len(pending_checks(warehouse, stages)) for stages in drafting(recipe))
    taught = len(pending_items(warehouse, recipe)) if recipe.teaching else 0
    return seeds + len(pending_documents(warehouse, recipe.cloze)) + unchecked + taught


def finished(warehouse: Warehouse, recipe: Recipe) -> bool:
    """Whether a run of this recipe would find nothing to do; a recipe that never had anything is to be told so."""
    return not pending(warehouse, recipe) and not funnel(warehouse).is_empty()


def commit(warehouse: Warehouse, drafts: Iterable[Draft], failures: Sequence[Failure] = ()) -> int:
    """Check the drafts and append everything they hold in one transaction; the number of new episodes."""
    seen: set[str] = set()
    checked = [verify(draft, seen) for draft in drafts]
    counts = warehouse.append_all(
        {
            "contexts": to_frame(Context, [c.draft.context for c in checked]),
            "questions": to_frame(Question, [q for c in checked for q in c.draft.questions]),
            "evidence": to_frame(Evidence, [e for c in checked for e in c.draft.evidence]),
            "verdicts": to_frame(Verdict, [v for c in checked for v in c.verdicts]),
            "episodes": to_frame(Episode, [e for c in checked for e in c.episodes]),
            "failures": to_frame(Failure, failures),
        }
    )
    return counts["episodes"]


@task(cache_policy=NO_CACHE, task_run_name="simulate-{config.split}-{start}")
def simulate_partition(home: Path, config: SimulatorConfig, start: int, stop: int) -> int:
    """Simulate contexts `start` to `stop` and commit them."""
    with Warehouse.open(home) as warehouse:
        return commit(warehouse, simulator.simulate(config, start, stop))


@task(cache_policy=NO_CACHE)
def verify_partition(home: Path, drafts: str, context_ids: list[str]) -> int:
    """Put stored drafts to the checks of today: nothing is generated anew."""
    with Warehouse.open(home) as warehouse:
        return commit(warehouse, read_drafts(warehouse, drafts, context_ids))


@task(cache_policy=NO_CACHE)
def cloze_partition(home: Path, config: ClozeConfig, document_ids: list[str]) -> int:
    """Ask cloze questions of these documents and commit them; a document without any is a failure with a reason."""
    with Warehouse.open(home) as warehouse:
        rows = warehouse.query("select * from documents where document_id in (select unnest(?))", (document_ids,))
        drafts, failures = [], []
        for row in sorted(rows.iter_rows(named=True), key=lambda row: str(row["document_id"])):
            of_document = list(cloze.cloze(Document(**row), config))
            drafts += of_document
            if not of_document:
                failures.append(_no_question(row["document_id"], config))
        return commit(warehouse, drafts, failures)


def _no_question(document_id: str, config: ClozeConfig) -> Failure:
    what = {"stage": "cloze", "fingerprint": cloze.fingerprint(config), "item": document_id}
    return Failure(failure_id=content_id("fail", what), **what, reason=cloze.NOTHING, payload="", attempts=1)


def partitions(items: list[int], size: int) -> list[tuple[int, int]]:
    """Sorted indices as runs `[start, stop)` aligned to multiples of `size`: the same cuts on every run."""
    wanted: dict[int, list[int]] = {}
    for item in items:
        wanted.setdefault(item // size, []).append(item)
    return [(run[0], run[-1] + 1) for run in wanted.values()]


@flow(name="synthesize")
@emits("synthesize", of="recipe")
def synthesize(home: Path, recipe: Recipe) -> int:
    """Make what the recipe lacks; returns the number of new episodes.

    Raises:
        EvoError: the funnel does not balance.
    """
    new = 0
    with Warehouse.open(home) as warehouse:
        documents = pending_documents(warehouse, recipe.cloze)
        seeds = [(config, pending_seeds(warehouse, config)) for config in simulators(recipe)]
        if recipe.cloze:
            reads(assets.table("documents", warehouse.snapshot()))
        unchecked = [(stages.drafts, pending_checks(warehouse, stages)) for stages in drafting(recipe)]
        record_stages(warehouse, recipe.name, (stage for stages in drafting(recipe) for stage in stages))
    for stage, contexts in unchecked:
        for offset in range(0, len(contexts), CONTEXTS_A_PARTITION):
            chunk = contexts[offset : offset + CONTEXTS_A_PARTITION]
            new += verify_partition(home, stage.fingerprint, chunk)
            tell(
                f"synthesize: verified {stage.name} contexts {offset + len(chunk)}/{len(contexts)}, {new} new episodes"
            )
    for config, indices in seeds:
        for start, stop in partitions(indices, CONTEXTS_A_PARTITION):
            new += simulate_partition(home, config, start, stop)
            tell(f"synthesize: simulated {config.split} contexts up to {stop}/{config.contexts}, {new} new episodes")
    for offset in range(0, len(documents), DOCUMENTS_A_PARTITION):
        assert recipe.cloze is not None
        chunk = documents[offset : offset + DOCUMENTS_A_PARTITION]
        new += cloze_partition(home, recipe.cloze, chunk)
        tell(f"synthesize: cloze on documents {offset + len(chunk)}/{len(documents)}, {new} new episodes")
    if recipe.teaching:
        new += ask_teachers(home, recipe)
    with Warehouse.open(home) as warehouse:
        assert_balanced(warehouse)
        table = funnel(warehouse)
        writes(*assets.tables(MADE, warehouse.snapshot(), {"episodes": new}))
    if table.is_empty():
        raise EvoError("nothing was synthesized: no documents and no simulated contexts; run 'evo ingest PATH' first")
    create_markdown_artifact(key="funnel", markdown=f"```\n{table}\n```", description="Questions in, kept and rejected")
    return new


@flow(name="retry")
@emits("retry", of="recipe")
def retry(home: Path, recipe: Recipe) -> int:
    """Ask once more what teachers left unanswered, and nothing else; returns the number of new episodes.

    Raises:
        EvoError: the recipe has no teacher.
    """
    if recipe.teaching is None:
        raise EvoError(f"recipe '{recipe.name}' has no teacher, so nothing can be retried; name one that has")
    return ask_teachers(home, recipe, again=True)


@task(cache_policy=NO_CACHE)
def ask_teachers(home: Path, recipe: Recipe, again: bool = False) -> int:
    """The items that lack an outcome (`again`: those with failures), by all three stages; the new episodes.

    Raises:
        EvoError: a teacher's model was withdrawn, or teachers answered nothing that is of use.
    """
    with alone(home, recipe.name):
        with Warehouse.open(home) as warehouse:
            _refuse_withdrawn(warehouse, recipe)
            todo = pending_items(warehouse, recipe, again)
            reads(assets.table("documents", warehouse.snapshot()), *_teachers(recipe))
        if not todo:
            tell("teach: nothing is pending")
            return 0
        with following() as report, ExitStack() as servers:
            try:
                new = teach(home, _with_servers(home, recipe, servers), todo, report)
            finally:
                left = _report(home, recipe)
        with Warehouse.open(home) as warehouse:
            if left and nothing_made(warehouse, recipe, [one.item.name for one in todo]):
                raise EvoError(f"teachers gave no usable answer: {left}")
        return new


def _teachers(recipe: Recipe) -> list[assets.Asset]:
    return [assets.teacher(teacher) for teacher in recipe.teaching.teachers] if recipe.teaching else []


def _refuse_withdrawn(warehouse: Warehouse, recipe: Recipe) -> None:
    assert recipe.teaching is not None
    gone = withdrawn_ids(warehouse, "teacher model") & {teacher.model for teacher in recipe.teaching.teachers}
    if gone:
        raise EvoError(
            f"teacher model '{min(gone)}' was withdrawn; nothing was asked, since nothing made of its answers can be "
            "published; name another --model"
        )


def _with_servers(home: Path, recipe: Recipe, servers: ExitStack) -> Recipe:
    """The recipe with the endpoints of the servers that it has started, which run until `servers` is closed."""
    assert recipe.teaching is not None
    teachers = tuple(
        t.replace(endpoints=(servers.enter_context(served(t.serve, home, t.api_key_env)),)) if t.serve else t
        for t in recipe.teaching.teachers
    )
    return recipe.replace(teaching=recipe.teaching.replace(teachers=teachers))


def _report(home: Path, recipe: Recipe) -> str:
    """What all runs of the recipe have made, as a file and in Prefect; and what is left unanswered, in a sentence."""
    with Warehouse.open(home) as warehouse:
        left = unanswered(warehouse, recipe)
        writes(*assets.tables((*MADE, "teacher_calls"), warehouse.snapshot()))
        told = synthesis_report(warehouse, recipe, SqliteLedger.open(home).spent(recipe.name))
    if left:
        tell(f"teach: {left}")
    write_whole(report_path(home, recipe), told)
    create_markdown_artifact(key="synthesis", markdown=told, description=f"What '{recipe.name}' has made")
    return left

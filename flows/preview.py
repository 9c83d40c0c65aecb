"""What a run of a recipe would make, shown on a few items: nothing is stored in the warehouse, nothing is published.

Teachers are asked as in a run, and paid: their answers are kept in the ledger, so that the run asks none of it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from evoembedding.flows.alone import alone
from evoembedding.flows.progress import tell
from evoembedding.flows.synthesize import refuse_withdrawn
from evoembedding.flows.teaching.counts import Progress
from evoembedding.flows.teaching.serve_teacher import with_servers
from evoembedding.flows.teaching.teach import Todo, all_items, make_items
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.episode import Document, Draft, Record
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.made import Made
from evoembedding.synth.generators import Offline, offline
from evoembedding.synth.verification import verify
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets import outcomes
from evoembedding.warehouse.documents.texts import documents_of, usable_documents
from evoembedding.warehouse.ledger import StoredLedger, open_ledger


class Call(Record):
    """What a teacher was asked, and what it answered. `prompt` is its messages one after the other."""

    stage: str
    teacher: str
    prompt: str
    answer: str
    valid: bool
    tokens: int
    cost: float


class Shown(Record):
    """A question with its answer, the texts of its evidence, and why it was rejected; '' where it is kept."""

    question_type: str
    question: str
    answer: str
    evidence: tuple[str, ...]
    rejected: str


class Previewed(Record):
    """An item: a seed, a document or a teacher's item, with what was made of it."""

    kind: str  # of the generator, or of the teachers' context
    item: str
    segments: int  # of its contexts
    questions: tuple[Shown, ...]
    failures: tuple[str, ...]
    calls: tuple[Call, ...] = ()

    @property
    def kept(self) -> int:
        return sum(not one.rejected for one in self.questions)


class Preview(NamedTuple):
    """The items; what their calls cost together, and how much of that was paid just now."""

    items: list[Previewed]
    cost: float
    paid_now: float
    kept: int

    @property
    def a_kept_episode(self) -> float | None:
        """What an episode costs; None where none was kept."""
        return self.cost / self.kept if self.kept else None


def preview(home: Path, recipe: Recipe, count: int) -> Preview:
    """The first `count` items of each generator and of each kind that teachers make, whether they are made or not.

    Raises:
        EvoError: there is none; or the teachers had to be stopped, whose answers so far are kept.
    """
    # Alone as a run is: two that ask at once would pay for the same answers.
    with alone(home, recipe.name), Warehouse.open(home) as warehouse, closing(open_ledger(home)) as ledger:
        before = ledger.spent(recipe.name).cost
        asked = [one for one in offline(recipe) if one.generator.split(one.config) == "train"]  # what is trained on
        items = [shown for one in asked for shown in _drafted(warehouse, one, count)]
        if recipe.teaching:
            items += _taught(warehouse, ledger, home, recipe, count)
        paid = ledger.spent(recipe.name).cost - before
    if not items:
        raise EvoError(
            f"recipe '{recipe.name}' has nothing to be shown: no documents and no simulated contexts; run 'evo ingest "
            "PATH' first"
        )
    # By their text: items may share a call, such as a memory and what it is extracted from, and it is paid once.
    calls = {(call.stage, call.prompt, call.answer): call.cost for item in items for call in item.calls}
    return Preview(items, sum(calls.values()), paid, sum(item.kept for item in items))


def _drafted(warehouse: Warehouse, one: Offline, count: int) -> Iterator[Previewed]:
    generator, config = one.generator, one.config
    if generator.source == "seeds":
        assert generator.from_seeds is not None
        for seed in range(min(count, generator.seeds(config))):
            yield _checked(one.kind, f"seed {seed}", generator.from_seeds(config, [seed]), "")
        return
    assert generator.from_document is not None
    document: Document
    for document in documents_of(warehouse, sorted(usable_documents(warehouse))[:count]):
        made = generator.from_document(config, document)
        yield _checked(one.kind, document.document_id, made, generator.nothing)


def _checked(kind: str, item: str, drafts: Iterable[Draft], nothing: str) -> Previewed:
    seen: set[str] = set()
    made = [verify(draft, seen) for draft in drafts]
    return _item(kind, item, made, () if made else (nothing,))


def _item(kind: str, item: str, made: list[Made], failures: tuple[str, ...], calls: tuple[Call, ...] = ()) -> Previewed:
    return Previewed(
        kind=kind,
        item=item,
        segments=sum(len(context.segments) for one in made for context in one.contexts),
        questions=tuple(shown for one in made for shown in _questions(one)),
        failures=failures,
        calls=calls,
    )


def _questions(made: Made) -> Iterator[Shown]:
    segments = {context.context_id: context.segments for context in made.contexts}
    evidence = {one.question_id: one.indices for one in made.evidence}
    kept = {one.question_id: one.evidence for one in made.episodes}
    reasons = {
        one.question_id: f"{one.check_name}: {one.reason}"
        for one in reversed(made.verdicts)  # the first that failed is the last one here
        if not one.passed and one.check_name != "all"
    }
    for question in made.questions:
        texts, identity = segments[question.context_id], question.question_id
        chosen = kept.get(identity, evidence.get(identity, ()))
        yield Shown(
            question_type=question.question_type,
            question=question.text,
            answer=question.answer,
            evidence=tuple(texts[index].text for index in chosen if index < len(texts)),
            rejected="" if identity in kept else reasons.get(identity, "it has no evidence"),
        )


def _taught(warehouse: Warehouse, ledger: StoredLedger, home: Path, recipe: Recipe, count: int) -> Iterator[Previewed]:
    assert recipe.teaching is not None
    refuse_withdrawn(warehouse, recipe)
    every, tried = all_items(warehouse, recipe.teaching), outcomes.attempts(warehouse, recipe.name)
    kinds = dict.fromkeys(item.kind for item in every)
    some = [item for kind in kinds for item in [one for one in every if one.kind == kind][:count]]
    made: list[Made] = []

    def keep(batch: list[Made]) -> int:
        made.extend(batch)
        return sum(len(one.episodes) for one in batch)

    with with_servers(recipe, home) as ready:
        # With the attempts of runs before, whose answers are then those of the ledger.
        todo = [Todo(item, tried.get(item.name, 1)) for item in some]
        if todo:
            make_items(warehouse, ledger, ready, todo, _told, keep)
    by_name = {one.outcomes[0].item: one for one in made}
    for item in some:
        one = by_name[item.name]
        failures = tuple(f"{failure.stage}: {failure.reason}" for failure in one.failures)
        yield _item(item.kind, item.name, [one], failures, tuple(_calls(ledger, one)))


def _calls(ledger: StoredLedger, made: Made) -> Iterator[Call]:
    """The calls that rows and failures name, each once."""
    found = [call for context in made.contexts for call in context.calls]
    found += [call for question in made.questions for call in question.calls]
    found += [call for evidence in made.evidence for call in evidence.calls]
    found += [call for verdict in made.verdicts for call in verdict.calls]
    found += [call for failure in made.failures for call in json.loads(failure.payload).get("calls", ())]
    for identity in dict.fromkeys(found):
        call, request = ledger.find(identity), ledger.request(identity)
        if call and request:
            asked = json.loads(request)["messages"]
            yield Call(
                stage=call.stage,
                teacher=call.teacher,
                prompt="\n\n".join(message["content"] for message in asked),
                answer=call.content,
                valid=call.valid,
                tokens=call.prompt_tokens + call.completion_tokens,
                cost=call.cost,
            )


def _told(progress: Progress) -> None:
    if progress.done == progress.total:
        tell(progress.line())

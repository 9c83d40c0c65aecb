"""What a run of a recipe still has to do, all of it or a part that the user names: found by what is not there.

A warehouse and a recipe come in; ids of contexts, seeds, documents and items of teachers go out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from evoembedding.flows.teaching.known import Known
from evoembedding.flows.teaching.teach import Todo, all_items, pending_items
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.errors import EvoError
from evoembedding.synth.fingerprints import KINDS, Drafted
from evoembedding.synth.generators import Offline, offline
from evoembedding.synth.items import Item
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.drafts import drafted_documents, drafted_seeds, failed_documents, unverified
from evoembedding.warehouse.datasets.funnel import funnel
from evoembedding.warehouse.documents.texts import usable_documents
from evoembedding.warehouse.short_ids import whole_id

FAILED, INVALIDATED = "failed", "invalidated"


class Only(NamedTuple):
    """The part of a run that is asked for: what teachers left unanswered, what was made under other settings, what is
    of these documents; several of them together, and everything where none is given.
    """

    failed: bool = False
    invalidated: bool = False
    documents: frozenset[str] = frozenset()


EVERYTHING = Only()


def chosen(warehouse: Warehouse, recipe: Recipe, words: Sequence[str]) -> Only:
    """The part that words name: `failed`, `invalidated`, ids of documents or their beginnings.

    Raises:
        EvoError: a word is none of these, or the recipe makes nothing of it.
    """
    if FAILED in words and recipe.teaching is None:
        raise EvoError(
            f"recipe '{recipe.name}' has no teacher, and only what teachers left unanswered can be tried again; "
            f"nothing was made; leave '{FAILED}' out, or name a recipe that has one"
        )
    named = {whole_id(warehouse, word) for word in words} - {FAILED, INVALIDATED}
    if strange := named - usable_documents(warehouse):
        raise EvoError(
            f"{min(strange)[:80]!r} is no document that is used: there is none of that id, it was withdrawn, or its "
            f"source holds it no longer; nothing was made; give '{FAILED}', '{INVALIDATED}' or the id of a document"
        )
    # Such a generator reads every document; teachers are asked about some of them.
    if not any(one.generator.source == "documents" for one in offline(recipe)):
        taught = all_items(warehouse, recipe.teaching) if recipe.teaching else []
        if left := named - {document_of(item) for item in taught}:
            raise EvoError(
                f"recipe '{recipe.name}' makes nothing of document {min(left)}; nothing was made; raise the number of "
                "documents that its teacher is asked about, or name a recipe that reads it"
            )
    return Only(FAILED in words, INVALIDATED in words, frozenset(named))


def document_of(item: Item) -> str:
    """The document that an item of teachers is made from; '' for none."""
    origin = Item.named(item.source) if item.kind == "memory" else item
    return origin.source if origin.kind == "web" else ""


def pending_sources(
    warehouse: Warehouse, one: Offline, only: Only = EVERYTHING, known: Known | None = None
) -> list[Any]:
    """The seeds that are not yet drafted; or the ids of the usable documents that have neither a context nor a recorded
    failure. What only some are asked for, is asked of what is `known`.
    """
    generator, fingerprint = one.generator, one.stages.drafts.fingerprint
    seeds = generator.source == "seeds"
    if seeds:
        todo = set[Any](range(generator.seeds(one.config))) - drafted_seeds(warehouse, fingerprint)
    else:
        # One without any draft counts as done by its failure: it would give none again.
        todo = usable_documents(warehouse) - failed_documents(warehouse, generator.name, fingerprint)
        todo -= drafted_documents(warehouse, fingerprint)
    if only != EVERYTHING:
        wanted = set[Any]() if seeds else set[Any](only.documents)
        if only.invalidated and known:
            wanted |= drafted_otherwise(warehouse, one, known)
        todo &= wanted
    # Sets have no order: sorted, what is left is cut into the same partitions by every run.
    return sorted(todo)


def drafted_otherwise(warehouse: Warehouse, one: Offline, known: Known) -> set[Any]:
    """The seeds or documents that were drafted under other settings of a recipe."""
    drafted = drafted_seeds if one.generator.source == "seeds" else drafted_documents
    return set[Any]().union(*(drafted(warehouse, other) for other in known.others(one.stages.drafts)))


def pending_checks(warehouse: Warehouse, stages: Drafted, only: Only = EVERYTHING) -> list[str]:
    """Ids of the drafted contexts that the checks of today have not seen."""
    found = unverified(warehouse, stages.drafts.fingerprint, stages.verify.fingerprint)
    if only == EVERYTHING or only.invalidated:  # other checks have seen them: drafts are checked as they are committed
        return found
    of_documents = warehouse.query(
        """SELECT context_id FROM lake.contexts
           WHERE list_contains($ids::VARCHAR[], context_id) AND list_has_any(document_ids, $documents::VARCHAR[])
           ORDER BY context_id""",
        {"ids": found, "documents": list(only.documents)},
    )
    return of_documents["context_id"].to_list()


def todo_items(warehouse: Warehouse, recipe: Recipe, only: Only = EVERYTHING) -> list[Todo]:
    """The items of teachers that lack an outcome, and those with failures where these are asked for."""
    assert recipe.teaching is not None
    # Asked apart: items with failures have an outcome, and so are not among the pending.
    again = pending_items(warehouse, recipe, retry=True) if only.failed else []
    if only == Only(failed=True):
        return again
    todo = pending_items(warehouse, recipe)
    if only == EVERYTHING:
        return todo
    known = Known(warehouse, recipe.name)
    stale = {name for kind in KINDS for name in known.tried(kind)} if only.invalidated else set[str]()
    some = [one for one in todo if one.item.name in stale or document_of(one.item) in only.documents]
    return [*again, *some]  # what failed has an outcome, and is not among those that lack one


class Work(NamedTuple):
    """What a run has to do: contexts to check and sources to draft from by generator, and items to teach."""

    checks: list[tuple[Offline, list[str]]]
    sources: list[tuple[Offline, list[Any]]]
    items: list[Todo]

    @property
    def size(self) -> int:
        """How many contexts, sources and items these are."""
        return sum(len(found) for _, found in (*self.checks, *self.sources)) + len(self.items)


def work(warehouse: Warehouse, recipe: Recipe, only: Only = EVERYTHING) -> Work:
    """What a run of this recipe would do."""
    # `Known` reads all outcomes of the recipe, which most runs need not.
    asked, known = offline(recipe), Known(warehouse, recipe.name) if only.invalidated else None
    return Work(
        checks=[(one, pending_checks(warehouse, one.stages, only)) for one in asked],
        sources=[(one, pending_sources(warehouse, one, only, known)) for one in asked],
        items=todo_items(warehouse, recipe, only) if recipe.teaching else [],
    )


def pending(warehouse: Warehouse, recipe: Recipe) -> int:
    """How many contexts and documents a run of this recipe would still work on."""
    return work(warehouse, recipe).size


def finished(warehouse: Warehouse, recipe: Recipe, only: Only = EVERYTHING) -> bool:
    """Whether a run of this recipe would find nothing to do; a recipe that never had anything is to be told so."""
    return not work(warehouse, recipe, only).size and (only != EVERYTHING or not funnel(warehouse).is_empty())

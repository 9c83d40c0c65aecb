"""Ingest: files, folders or Hugging Face datasets -> `documents`, and `failures` for what could not be read."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from prefect import flow, task

from evoembedding.flows.announce import announce
from evoembedding.flows.lineage_events import emits, reads, writes
from evoembedding.flows.parameters import THE_WORKERS, Home
from evoembedding.flows.progress import tell
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import Failure
from evoembedding.schemas.episode import Document, Record
from evoembedding.schemas.text import shown
from evoembedding.synth.curation.deduplicate import same_document
from evoembedding.synth.documents import failure, open_source, unread_kinds
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.documents.sync import seen, settle, source_name
from evoembedding.warehouse.documents.texts import add_documents, with_text
from evoembedding.warehouse.lineage.withdrawal_marks import text_digest, withdrawn_texts
from evoembedding.warehouse.openlineage import assets

ROWS_A_COMMIT = 2000
NAMED = 100  # failures, files and documents that a result names, at most; the run's log and the tables have all


class Ingested(Record):
    """What an ingest did: documents read, and how many of them are new, replace others or are as they were.

    `gone` were there before; `namesakes` have the name of a document of another source, and both are used.
    """

    source: str
    read: int
    new: int
    changed: int
    gone: int
    unchanged: int
    namesakes: int
    failures: tuple[Failure, ...]
    withdrawn: tuple[str, ...] = ()  # documents that stay so
    unread: tuple[str, ...] = ()  # files of kinds that are not read

    def told(self) -> dict[str, Any]:
        """As a small JSON object: all counts, `rejected` that of failures, and the first of what was left out."""
        return {
            **self.model_dump(exclude={"failures"}),
            "rejected": len(self.failures),
            "failures": [one.model_dump(include={"failure_id", "item", "reason"}) for one in self.failures[:NAMED]],
            "withdrawn": list(self.withdrawn[:NAMED]),
            "unread": list(self.unread[:NAMED]),
            "unread_kinds": unread_kinds(self.unread),
        }


# Prefect keeps no result of a task, here and elsewhere: what is done follows from the warehouse, not from arguments.
@task(persist_result=False)
def ingest_source(home: Path, source: str, license: str = "", sync: bool = False, name: str = "") -> Ingested:
    """Read `source` and append its documents, `ROWS_A_COMMIT` a transaction; then record what it holds now.

    `license` is that of documents which carry none. With `sync`, what the source held before and does not hold now is
    gone. `name` is what the source is called, where that does not follow from where it lies.
    A withdrawn document stays withdrawn, and so does its text under another title: that is refused.
    """
    read, failed, still = 0, [], dict[str, None]()
    places, unread, stored = list[tuple[str, str, str]](), set[str](), set[str]()
    opened = open_source(source)
    rows = opened.read(license)
    reads(assets.source(source))
    with Warehouse.open(home) as warehouse:
        withdrawn = withdrawn_texts(warehouse)
        while chunk := [(found.file, _refused(found.row, withdrawn)) for found in islice(rows, ROWS_A_COMMIT)]:
            documents = [row for _, row in chunk if isinstance(row, Document)]
            failures = [row for _, row in chunk if isinstance(row, Failure)]
            still |= {row.document_id: None for row in documents if text_digest(row.text) in withdrawn}
            places += [(file, row.source_id, row.document_id) for file, row in chunk if isinstance(row, Document)]
            unread |= {file for file, row in chunk if isinstance(row, Failure)}
            # Asked before they are added: after it, all of them are there.
            stored |= with_text(warehouse, [row.document_id for row in documents])
            add_documents(warehouse, to_frame(Document, documents), to_frame(Failure, failures))
            read += len(documents)
            failed += failures
            tell(f"ingest {shown(source, 200)}: {read} documents read, {len(failed)} rejected")
        # Once, when all is read: of half a source it would say that the other half is gone.
        found = seen(places, unread, opened.files[0][1] if opened.alone else "")
        called = name or source_name(home, source)
        settled = settle(warehouse, called, found, stored, same_document, sync)
        writes(assets.table("documents", warehouse.snapshot(), rows=settled.new + settled.changed))
    if settled.new or settled.changed or settled.gone:
        announce(home, "documents.ingested", ("source", called), payload={**settled._asdict(), "rejected": len(failed)})
    return Ingested(
        source=source,
        read=read,
        failures=tuple(failed),
        withdrawn=tuple(still),
        unread=opened.unread,
        **settled._asdict(),
    )


def _refused(row: Document | Failure, withdrawn: dict[str, set[str]]) -> Document | Failure:
    """A document, unless its text was withdrawn under another id."""
    if isinstance(row, Failure):
        return row
    same = withdrawn.get(text_digest(row.text), set())
    if not same or row.document_id in same:
        return row
    return failure(row.source_id, f"its text is that of {', '.join(sorted(same))}, which was withdrawn")


@flow(name="ingest", persist_result=True, result_serializer="json")
@emits("ingest", of="source")
def ingest(
    source: str,
    license: str = "",
    sync: bool = False,
    name: str = "",
    create_home: bool = False,
    home: Home = THE_WORKERS,
) -> dict[str, Any]:
    """Files or a dataset id into the warehouse; rerunning adds nothing twice.

    Args:
        source: A txt, md, rst, jsonl or Parquet file, a folder, or a Hugging Face dataset id.
        license: The licence of documents that carry none.
        sync: What the source no longer holds is gone.
        name: What the source is called, when it has moved.
        create_home: Make the home if it does not exist.
        home: The state folder; by default `$EVO_HOME` of the worker.
    """
    ingested = ingest_source(home, source, license, sync, name)
    for failed in ingested.failures:
        tell(f"{failed.item}: {failed.reason}")
    return ingested.told()

"""Ingest: files, folders or Hugging Face datasets -> `documents`, and `failures` for what could not be read."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from evoembedding.flows.lineage_events import emits, reads, writes
from evoembedding.flows.progress import tell
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import Failure
from evoembedding.schemas.episode import Document, Record
from evoembedding.schemas.text import shown
from evoembedding.synth.curation.deduplicate import same_document
from evoembedding.synth.documents import failure, open_source
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.documents.sync import seen, settle, source_name
from evoembedding.warehouse.documents.texts import add_documents, with_text
from evoembedding.warehouse.lineage.withdrawal_marks import text_digest, withdrawn_texts
from evoembedding.warehouse.openlineage import assets

ROWS_A_COMMIT = 2000


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


# No cache of Prefect's, here and elsewhere: what is done already follows from the warehouse, not from arguments.
@task(cache_policy=NO_CACHE)
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
        settled = settle(warehouse, name or source_name(home, source), found, stored, same_document, sync)
        writes(assets.table("documents", warehouse.snapshot(), rows=settled.new + settled.changed))
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


@flow(name="ingest")
@emits("ingest", of="source")
def ingest(home: Path, source: str, license: str = "", sync: bool = False, name: str = "") -> Ingested:
    """Files or a dataset id into the warehouse; rerunning adds nothing twice."""
    return ingest_source(home, source, license, sync, name)

"""Ingest: files, folders or Hugging Face datasets -> `documents`, and `failures` for what could not be read."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.lineage_events import emits, reads, writes
from flows.progress import tell
from schemas.arrow import to_frame
from schemas.dataset import Failure
from schemas.episode import Document, Record
from synth.documents import failure, open_source
from warehouse import assets
from warehouse.catalog import Warehouse
from warehouse.documents import add_documents
from warehouse.withdrawn import text_digest, withdrawn_texts

ROWS_A_COMMIT = 2000


class Ingested(Record):
    """What an ingest did: documents read, of those new, the items that failed, and documents that were withdrawn."""

    source: str
    read: int
    new: int
    failures: tuple[Failure, ...]
    withdrawn: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()  # files of kinds that are not read


@task(cache_policy=NO_CACHE)
def ingest_source(home: Path, source: str) -> Ingested:
    """Read `source` and append its documents, `ROWS_A_COMMIT` a transaction.

    A withdrawn document stays withdrawn, and so does its text under another title: that is refused.
    """
    read, new, failed, still = 0, 0, [], dict[str, None]()
    opened = open_source(source)
    rows = (found.row for found in opened.read())
    reads(assets.source(source))
    with Warehouse.open(home) as warehouse:
        withdrawn = withdrawn_texts(warehouse)
        while chunk := [_refused(row, withdrawn) for row in islice(rows, ROWS_A_COMMIT)]:
            documents = [row for row in chunk if isinstance(row, Document)]
            failures = [row for row in chunk if isinstance(row, Failure)]
            still |= {row.document_id: None for row in documents if text_digest(row.text) in withdrawn}
            new += add_documents(warehouse, to_frame(Document, documents), to_frame(Failure, failures))
            read += len(documents)
            failed += failures
            tell(f"ingest {source}: {read} documents read, {new} new, {len(failed)} rejected")
        writes(assets.table("documents", warehouse.snapshot(), rows=new))
    return Ingested(
        source=source, read=read, new=new, failures=tuple(failed), withdrawn=tuple(still), unread=opened.unread
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
def ingest(home: Path, source: str) -> Ingested:
    """Files or a dataset id into the warehouse; rerunning adds nothing twice."""
    return ingest_source(home, source)

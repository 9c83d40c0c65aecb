"""Documents with their texts, and those that an import knows by name alone."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import polars as pl

from evoembedding.schemas.episode import Document
from evoembedding.warehouse.catalog import Warehouse, insert_new
from evoembedding.warehouse.sources import SUPERSEDED

UNLICENSED = "unknown"
WITHOUT_TEXT = "SELECT document_id FROM lake.documents WHERE text = ''"
# Those that a source holds, or of which no source is known.
HELD = f"SELECT document_id FROM lake.documents WHERE document_id NOT IN ({SUPERSEDED})"  # noqa: S608
# Those that are worked on: texts that are here, of what sources hold now, and were not withdrawn.
USABLE = f"""SELECT document_id FROM lake.documents WHERE text <> ''
    AND document_id NOT IN (SELECT source FROM lake.withdrawals WHERE kind = 'document')
    AND document_id NOT IN ({SUPERSEDED})"""  # noqa: S608


def add_documents(warehouse: Warehouse, documents: pl.DataFrame, failures: pl.DataFrame) -> int:
    """Append documents and failed inputs; how many documents are new, or had been known without their text.

    What had no licence gets that which it has now.
    """
    licensed = documents.filter(pl.col("license") != UNLICENSED)["document_id"].to_list()
    known = warehouse.query(
        """SELECT document_id, text <> '' AS told FROM lake.documents
           WHERE text = '' AND document_id IN (SELECT unnest($ids))
              OR license = $unlicensed AND document_id IN (SELECT unnest($licensed))""",
        {"ids": documents["document_id"].to_list(), "licensed": licensed, "unlicensed": UNLICENSED},
    )
    if known.is_empty():
        return warehouse.append_all({"documents": documents, "failures": failures})["documents"]
    once = documents.unique("document_id", keep="first", maintain_order=True)

    def replace(con: duckdb.DuckDBPyConnection) -> int:
        # Not an UPDATE: a row's digest is made as the row is inserted.
        con.execute(
            "DELETE FROM lake.documents WHERE document_id IN (SELECT unnest(?))",
            [known["document_id"].to_list()],
        )
        insert_new(con, "failures", failures.unique("failure_id", maintain_order=True))
        return insert_new(con, "documents", once) - int(known["told"].sum())

    return warehouse.transaction(replace)


def with_text(warehouse: Warehouse, ids: Sequence[str]) -> set[str]:
    """Those of the documents whose texts are there."""
    found = warehouse.query(
        "SELECT document_id FROM lake.documents WHERE text <> '' AND document_id IN (SELECT unnest(?::VARCHAR[]))",
        (list(ids),),
    )
    return set(found["document_id"])


def usable_documents(warehouse: Warehouse) -> set[str]:
    """The ids of those that are worked on."""
    return set(warehouse.query(USABLE)["document_id"])


def count_usable(warehouse: Warehouse) -> int:
    """How many these are."""
    return int(warehouse.query(f"SELECT count(*) FROM ({USABLE})").item())  # noqa: S608


def count_new(warehouse: Warehouse, since: int) -> int:
    """How many of them came after a snapshot, or got their text or licence after it."""
    query = f"SELECT count(*) FROM lake.documents WHERE snapshot_id > ? AND document_id IN ({USABLE})"  # noqa: S608
    return int(warehouse.query(query, (since,)).item())


def documents_of(warehouse: Warehouse, ids: Sequence[str]) -> list[Document]:
    """The documents of these ids, by id."""
    rows = warehouse.query(
        "SELECT * FROM lake.documents WHERE document_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY document_id",
        (list(ids),),
    )
    return [Document(**row) for row in rows.iter_rows(named=True)]

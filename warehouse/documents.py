"""Documents with their texts, and those that an import knows by name alone."""

from __future__ import annotations

import duckdb
import polars as pl

from warehouse.catalog import Warehouse, insert_new

WITHOUT_TEXT = "SELECT document_id FROM lake.documents WHERE text = ''"


def add_documents(warehouse: Warehouse, documents: pl.DataFrame, failures: pl.DataFrame) -> int:
    """Append documents and failed inputs; how many documents are new, or had been known without their text."""
    known = set(warehouse.query(WITHOUT_TEXT)["document_id"]) & set(documents["document_id"])
    if not known:
        return warehouse.append_all({"documents": documents, "failures": failures})["documents"]
    once = documents.unique("document_id", keep="first", maintain_order=True)

    def replace(con: duckdb.DuckDBPyConnection) -> int:
        con.execute(
            "DELETE FROM lake.documents WHERE text = '' AND document_id IN (SELECT unnest(?))",
            [sorted(known)],
        )
        insert_new(con, "failures", failures.unique("failure_id", maintain_order=True))
        return insert_new(con, "documents", once)

    return warehouse.transaction(replace)

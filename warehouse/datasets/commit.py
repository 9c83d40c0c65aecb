"""Commit: what stages have made goes to its tables in one transaction."""

from __future__ import annotations

from collections.abc import Iterable

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.made import Made
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.tables import TABLES


def commit(warehouse: Warehouse, made: Iterable[Made]) -> int:
    """Append all rows, or none; how many episodes are new. A row that comes twice is there once."""
    bundles = list(made)
    counts = warehouse.append_all(
        {
            table: to_frame(TABLES[table].record, [row for one in bundles for row in getattr(one, table)])
            for table in Made.model_fields
        }
    )
    return counts["episodes"]

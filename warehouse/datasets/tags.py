"""Tags: names such as `demo@stable` that point to a version and can be moved. Every move is kept."""

from __future__ import annotations

import re

import duckdb
import polars as pl

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import DatasetTag
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.moments import now
from evoembedding.warehouse.catalog import Warehouse, fetch_frame, insert_new
from evoembedding.warehouse.datasets.versions import check_name, resolve, tags

TAG = re.compile(r"[a-z][a-z0-9._-]{0,63}")


def set_tag(warehouse: Warehouse, label: str, tag: str) -> DatasetTag:
    """Point `tag` to the version of `label`; a tag that points there already is left as it is.

    Raises:
        EvoError: the tag is not allowed, or the version is unknown or retired.
    """
    _check(tag)
    version = resolve(warehouse, label)
    return _move(warehouse, version.name, tag, version.dataset_id)


def remove_tag(warehouse: Warehouse, name: str, tag: str) -> DatasetTag:
    """Let `tag` point nowhere.

    Raises:
        EvoError: the name has no such tag.
    """
    check_name(name)
    known = tags(warehouse, name)
    if tag not in known:
        raise EvoError(
            f"dataset '{name}' has no tag {tag[:70]!r}; nothing was removed; its tags are: {', '.join(known) or 'none'}"
        )
    return _move(warehouse, name, tag, "")


def tag_history(warehouse: Warehouse, name: str | None = None) -> pl.DataFrame:
    """Columns name, tag, sequence, dataset (label; '' when removed), created_at, current. Newest first in each tag."""
    return warehouse.query(
        """SELECT t.name, t.tag, t.sequence, coalesce(v.name || '@' || v.number, '') AS dataset, t.created_at,
                  t.sequence = max(t.sequence) OVER (PARTITION BY t.name, t.tag) AS current
           FROM lake.dataset_tags t LEFT JOIN lake.dataset_versions v USING (dataset_id)
           WHERE $1 IS NULL OR t.name = $1 ORDER BY t.name, t.tag, t.sequence DESC""",
        (name,),
    )


def _move(warehouse: Warehouse, name: str, tag: str, dataset_id: str) -> DatasetTag:
    def work(con: duckdb.DuckDBPyConnection) -> DatasetTag:
        # Read where it is written, in one transaction: two moves at once would take the same number.
        newest = "SELECT * FROM lake.dataset_tags WHERE name = ? AND tag = ? ORDER BY sequence DESC LIMIT 1"
        rows = fetch_frame(con, newest, [name, tag])
        last = DatasetTag(**rows.row(0, named=True)) if len(rows) else None
        # No move: to store one would say that the tag had been elsewhere.
        if last and last.dataset_id == dataset_id:
            return last
        sequence = last.sequence + 1 if last else 1
        moved = DatasetTag(name=name, tag=tag, sequence=sequence, dataset_id=dataset_id, created_at=now())
        insert_new(con, "dataset_tags", to_frame(DatasetTag, [moved]))
        return moved

    return warehouse.transaction(work)


def _check(tag: str) -> None:
    if not TAG.fullmatch(tag):
        shown = tag if len(tag) <= 70 else tag[:67] + "..."
        raise EvoError(
            f"tag {shown!r} is not allowed; nothing was tagged; use 1 to 64 of a-z, 0-9, '.', '_' and '-', starting "
            "with a letter, so that no tag looks like a version's number"
        )

"""The rows of a version's episodes from all tables, brought together by context a part at a time.

Sorting or joining whole contexts in DuckDB takes memory with their number and fails where none is left. Here each table
is read once, as it lies, and dealt to files by part; only ids are held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pyarrow as pa

from evoembedding.schemas.arrow import polars_schema
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.tables import TABLES

ROWS_A_PART = 4000
PARTS = 400  # at most, since as many files are open at once
ROWS_A_READ = 4096
KEYS = {
    "contexts": "context_id",
    "episodes": "episode_id",
    "questions": "question_id",
    "evidence": "question_id",
    "verdicts": "question_id",
}
_IDS = """SELECT context_id, episode_id, question_id FROM lake.episodes SEMI JOIN
    (SELECT episode_id FROM lake.dataset_members WHERE dataset_id = ?) USING (episode_id)
    ORDER BY context_id, episode_id"""
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


def parts(warehouse: Warehouse, dataset_id: str, folder: Path) -> Iterator[dict[str, pa.Table]]:
    """Tables by name, for one part of the version's contexts after another, in the order of their ids.

    A context lies in one part with all its episodes, of which a part has about `ROWS_A_PART`. `folder` holds the files
    of parts, which are removed as they are read.
    """
    ids = warehouse.query(_IDS, (dataset_id,)).with_row_index("row")
    size = max(ROWS_A_PART, -(-len(ids) // PARTS))
    # By the first row of each context, so that none is torn between two parts.
    ids = ids.with_columns((pl.col("row").first().over("context_id") // size).alias("part"))
    for table, key in KEYS.items():
        _deal(warehouse, table, ids.select(key, "part").unique(key), folder)
    for part in ids["part"].unique().sort():
        yield {table: _read(folder / f"{table}-{part}", table) for table in KEYS}


def _deal(warehouse: Warehouse, table: str, ids: pl.DataFrame, folder: Path) -> None:
    writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
    with ExitStack() as files:
        for frame in warehouse.stream(f"SELECT * FROM lake.{table}", rows=ROWS_A_READ):  # noqa: S608
            # Rows of other versions find no part, and are dropped here.
            found = frame.join(ids, on=KEYS[table])
            for (part,), rows in found.partition_by("part", as_dict=True, include_key=False).items():
                held = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
                if part not in writers:
                    sink = files.enter_context(pa.OSFile(str(folder / f"{table}-{part}"), "wb"))
                    writer = pa.ipc.new_stream(sink, held.schema, options=_COMPRESSED)
                    writers[part] = files.enter_context(writer)
                writers[part].write_table(held)


def _read(path: Path, table: str) -> pa.Table:
    if not path.exists():
        return pl.DataFrame(schema=polars_schema(TABLES[table].record)).to_arrow()
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as reader:
        held = reader.read_all()
    path.unlink()
    return held

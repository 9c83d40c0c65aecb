"""What sources of documents hold: which of their documents are new, changed, gone or as they were.

A source is what was ingested: a folder, the folder of a file, or a dataset of the hub. Every ingest is compared with
the one before, and what differs is appended to `document_sources`; of a document under a name the last row holds. A
document that is present nowhere, since it was replaced or is gone, is used in new versions no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import DocumentSource
from evoembedding.schemas.ids import digest
from evoembedding.schemas.moments import now
from evoembedding.warehouse.catalog import Warehouse, insert_new
from evoembedding.warehouse.sources import SUPERSEDED

# Of two whole texts each.
PAIRS_A_READ = 200
PLACE = ("file", "source_id")
_KEY = (*PLACE, "document_id")
_SEEN = pl.Schema(dict.fromkeys(_KEY, pl.String()))
_LAST = """SELECT source, file, source_id, document_id, arg_max(state, sequence) AS state
    FROM lake.document_sources GROUP BY ALL"""
# Documents of the same name that other sources hold, or that are of no known source: with both texts.
_NAMESAKES = f"""WITH incoming AS (
    SELECT unnest($names::VARCHAR[]) AS source_id, unnest($ids::VARCHAR[]) AS document_id),
held AS (
    SELECT source, file, source_id, document_id FROM ({_LAST}) WHERE state = 'present' AND source <> $source
    UNION ALL SELECT '', '', source_id, document_id FROM lake.documents
              WHERE document_id NOT IN (SELECT document_id FROM lake.document_sources))
SELECT h.source, h.file, h.source_id, h.document_id, f.document_id AS successor, d.text, o.text AS other
FROM held h JOIN incoming f ON h.source_id = f.source_id AND h.document_id <> f.document_id
JOIN lake.documents d ON d.document_id = f.document_id JOIN lake.documents o ON o.document_id = h.document_id
WHERE o.text <> ''"""  # noqa: S608


class Seen(NamedTuple):
    """What an ingest found: where each document was, and files that it could not read, or not whole."""

    places: pl.DataFrame  # columns file, source_id, document_id
    unread: Collection[str] = ()  # a folder ends in '/'
    alone: str = ""  # the one file that was looked at; '' for all of the source


class Settled(NamedTuple):
    """How many documents are new, replace others, are gone, or are as they were.

    `namesakes` have the name of a document of another source, and another text: both are used.
    """

    new: int
    changed: int
    gone: int
    unchanged: int
    namesakes: int


def seen(places: Collection[tuple[str, str, str]], unread: Collection[str] = (), alone: str = "") -> Seen:
    """Found documents, each as file, source id and document id."""
    return Seen(pl.DataFrame(list(places), schema=_SEEN, orient="row").unique(maintain_order=True), unread, alone)


def source_name(home: Path, given: str) -> str:
    """What a source is called: a folder by its path from where the state folder lies, so that both can be moved; one
    that lies elsewhere by its name and a hash of its path; a dataset of the hub by its id.
    """
    path = Path(given)
    if not path.exists():
        return f"hub:{given}"
    folder = path.resolve().parent if path.is_file() else path.resolve()
    root = home.resolve().parent
    if folder.is_relative_to(root):
        return _storable(folder.relative_to(root).as_posix())
    return _storable(f"{folder.name}-{digest(folder.as_posix(), 4)}")


def settle(
    warehouse: Warehouse,
    source: str,
    found: Seen,
    stored: Collection[str],
    alike: Callable[[str, str], bool],
    sync: bool = False,
) -> Settled:
    """Compare what was found with what the source held before, and record what differs, in one transaction.

    `stored` are the found documents that the warehouse had before. What is no longer there is gone only with `sync`,
    and never what could not be read. A document of the same name from elsewhere whose text is nearly the same (`alike`)
    is replaced too: one of both would be left out of every version, and the newer stays.
    """
    was_out = set(warehouse.query(SUPERSEDED)["id"])
    twins, namesakes = _twins(warehouse, source, _missing(found.places, _held(warehouse, source)), alike)

    def work(con: duckdb.DuckDBPyConnection) -> Settled:
        before = _held(warehouse, source)
        fresh = _missing(found.places, before)
        replaced = _missing(before, found.places).join(
            found.places.group_by(PLACE).agg(pl.col("document_id").last().alias("successor")), on=PLACE
        )
        lost = before.join(found.places, on=PLACE, how="anti") if sync else before.clear()
        lost = lost.filter([_readable(file, found) for file in lost["file"]])
        rows = [
            *_rows(source, fresh, "present"),
            *_rows(source, replaced, "replaced"),
            *_rows(source, lost, "gone"),
            *(DocumentSource(**twin, state="replaced", sequence=0, created_at=now()) for twin in twins),
        ]
        last = con.execute("SELECT coalesce(max(sequence), 0) FROM lake.document_sources").fetchone()
        assert last
        rows = [row.replace(sequence=last[0] + 1) for row in rows]
        insert_new(con, "document_sources", to_frame(DocumentSource, rows))
        here = set(found.places["document_id"])
        successors = set(replaced["successor"]) | {twin["successor"] for twin in twins}
        came = set(fresh["document_id"]) - set(before["document_id"])
        changed = came & successors
        new = {one for one in came - changed if one not in stored or one in was_out}
        gone = set(lost["document_id"]) - here
        return Settled(len(new), len(changed), len(gone), len(here - changed - new), namesakes)

    return warehouse.transaction(work)


def superseded(warehouse: Warehouse) -> dict[str, str]:
    """What became of the documents that are present nowhere, by id; nothing as of a time before this was known."""
    rows = warehouse.query_known(
        f"""SELECT document_id, arg_max({{'state': state, 'successor': successor, 'at': created_at}}, sequence) AS l
            FROM lake.document_sources WHERE document_id IN ({SUPERSEDED}) AND state <> 'present'
            GROUP BY document_id"""  # noqa: S608
    )
    lasts = ((row["document_id"], row["l"]) for row in rows)
    return {one: f"{o['at']:%Y-%m-%d}" + f" by {o['successor']}" * bool(o["successor"]) for one, o in lasts}


def _held(warehouse: Warehouse, source: str) -> pl.DataFrame:
    return warehouse.query(
        f"SELECT file, source_id, document_id FROM ({_LAST}) WHERE source = ? AND state = 'present'",  # noqa: S608
        (source,),
    )


def _missing(places: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    return places.join(there, on=_KEY, how="anti", maintain_order="left")


def _readable(file: str, found: Seen) -> bool:
    return file == (found.alone or file) and not any(
        file == name or (file.startswith(name) and name.endswith("/")) for name in found.unread
    )


def _rows(source: str, places: pl.DataFrame, state: str) -> Iterator[DocumentSource]:
    for row in places.iter_rows(named=True):
        yield DocumentSource.model_validate(
            {"source": source, **row, "sequence": 0, "state": state, "created_at": now()}
        )


def _twins(
    warehouse: Warehouse, source: str, fresh: pl.DataFrame, alike: Callable[[str, str], bool]
) -> tuple[list[dict[str, str]], int]:
    """What is replaced elsewhere, and how many namesakes are not."""
    if fresh.is_empty():
        return [], 0
    found: list[dict[str, str]] = []
    others = set[str]()
    bound = {"source": source, "names": fresh["source_id"].to_list(), "ids": fresh["document_id"].to_list()}
    for rows in warehouse.stream(_NAMESAKES, bound, PAIRS_A_READ):
        for row in rows.iter_rows(named=True):
            if alike(row.pop("text"), row.pop("other")):
                found.append(row)
            else:
                others.add(row["successor"])
    return found, len(others)


def _storable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

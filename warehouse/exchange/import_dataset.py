"""Import: rows of the published form as a dataset version with its own lineage root."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import DatasetVersion, Failure, Import
from evoembedding.schemas.episode import Record
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.ids import content_id, digest
from evoembedding.schemas.made import Made
from evoembedding.schemas.moments import now
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.commit import commit
from evoembedding.warehouse.datasets.versions import EpisodeFilter, check_name, list_versions, matching_digest, publish
from evoembedding.warehouse.exchange.export import IMPORT, LEFT_OUT
from evoembedding.warehouse.exchange.import_rows import RowError, RowReader, failure
from evoembedding.warehouse.exchange.import_source import Line, Source, lines, open_source, table_rows
from evoembedding.warehouse.exchange.old_exports import row_of
from evoembedding.warehouse.tables import TABLES

VERSION = 1  # raise when the same bytes become other rows
ROWS_A_COMMIT = 1000
SHOWN = 20  # rejected rows that are told; all are in `failures`


class Imported(Record):
    """What an import did: rows read = new + there + rejected. `ignored` counts columns and keys that are not kept."""

    version: DatasetVersion
    source: str
    rows: int
    new: int
    there: int
    rejected: int
    reasons: tuple[str, ...]  # of the first rejected rows
    ignored: dict[str, int]


class _Tally:
    def __init__(self) -> None:
        self.rows = self.new = self.there = self.rejected = 0
        self.reasons: list[str] = []


def import_dataset(
    warehouse: Warehouse,
    name: str,
    source: str,
    git_commit: str | None,
    licence: str = "",
    progress: Callable[[int], None] | None = None,
) -> Imported:
    """Import a path or hub id and publish its episodes as `name@N`; the same bytes give the same version again.

    What is already there is not stored twice, so that a killed import goes on where it was. `progress` gets the rows
    read so far.

    Raises:
        EvoError: the name is not allowed, the source cannot be read, or none of its rows is an episode.
    """
    # Before the source is read, which may be large.
    check_name(name)
    opened = open_source(source)
    fingerprint = IMPORT + digest({"stage": "import", "version": VERSION, "digest": opened.digest}, 10)
    done = _done(warehouse, name, opened, fingerprint)
    if done:
        return done
    # Before the rows that name them.
    if opened.manifest:
        _append_named(warehouse, opened)
    reader, tally = RowReader(fingerprint, opened.manifest.form if opened.manifest else None), _Tally()
    rows = lines(opened)
    while _commit(warehouse, rows, reader, tally):
        if progress:
            progress(tally.rows)
    version = _publish(warehouse, name, opened, reader, tally, git_commit)
    record = Import(
        import_id=content_id("imp", {"dataset_id": version.dataset_id, "digest": opened.digest}),
        dataset_id=version.dataset_id,
        source=opened.name,
        revision=opened.revision,
        digest=opened.digest,
        fingerprint=fingerprint,
        rows=tally.rows,
        episodes=version.episodes,
        rejected=tally.rejected,
        licence=licence or opened.licence or "unknown",
        exported=opened.manifest.version.model_dump_json() if opened.manifest else "",
        created_at=now(),
    )
    # Last: `_done` goes by this row, and until it is there a rerun reads the source again.
    warehouse.append("imports", to_frame(Import, [record]))
    return Imported(
        version=version,
        source=opened.name,
        rows=tally.rows,
        new=tally.new,
        there=tally.there,
        rejected=tally.rejected,
        reasons=tuple(tally.reasons),
        ignored=dict(reader.unknown),
    )


def _done(warehouse: Warehouse, name: str, source: Source, fingerprint: str) -> Imported | None:
    """What an earlier import of the same bytes under the same name did, while its version is still held."""
    found = warehouse.query(
        """SELECT * FROM lake.imports SEMI JOIN lake.dataset_members USING (dataset_id)
           WHERE digest = $digest AND fingerprint = $fingerprint AND dataset_id IN (
               SELECT dataset_id FROM lake.dataset_versions WHERE name = $name)""",
        {"digest": source.digest, "fingerprint": fingerprint, "name": name},
    )
    for row in found.iter_rows(named=True):
        version = next(v for v in list_versions(warehouse) if v.dataset_id == row["dataset_id"])
        failed = warehouse.query(
            "SELECT item, reason FROM lake.failures WHERE stage = 'import' AND fingerprint = ? ORDER BY item LIMIT ?",
            (fingerprint, SHOWN),
        )
        return Imported(
            version=version,
            source=source.name,
            rows=row["rows"],
            new=0,
            there=row["rows"] - row["rejected"],
            rejected=row["rejected"],
            reasons=tuple(f"{item}: {reason}" for item, reason in failed.iter_rows()),
            ignored={},
        )
    return None


def _commit(warehouse: Warehouse, rows: Iterator[Line], reader: RowReader, tally: _Tally) -> bool:
    """Read some rows and commit what they become; whether there were any."""
    made, failures, read = [], list[Failure](), 0
    for line in islice(rows, ROWS_A_COMMIT):
        read += 1
        try:
            made.append(reader.read(line))
        except RowError as error:
            failures.append(failure(line, str(error), reader.fingerprint))
    if not read:
        return False
    new = commit(warehouse, [*made, Made(failures=tuple(failures))])
    tally.rows += read
    tally.new += new
    tally.there += len(made) - new
    tally.rejected += len(failures)
    tally.reasons += [f"{f.item}: {f.reason}" for f in failures[: SHOWN - len(tally.reasons)]]
    return True


def _publish(
    warehouse: Warehouse, name: str, source: Source, reader: RowReader, tally: _Tally, git_commit: str | None
) -> DatasetVersion:
    if not tally.new + tally.there:
        first = f"; the first rejected: {tally.reasons[0]}" if tally.reasons else ""
        raise EvoError(
            f"'{source.name}' holds no episode: {tally.rows} rows read, {tally.rejected} rejected{first}; nothing was "
            "published; a row has messages and meta, see docs/exchange.md"
        )
    where = EpisodeFilter(split=reader.split or "train", verified=reader.stamps)
    if source.manifest and (found := matching_digest(warehouse, where)) != source.manifest.version.digest:
        raise EvoError(
            f"export '{source.name}' names a version with digest {source.manifest.version.digest[:12]}, its rows make "
            f"{found[:12]} ({tally.rejected} rows were rejected); '{name}' was not published; export it again, where "
            "sources of it were withdrawn or replaced here a version without them"
        )
    recipe = {"name": "import", "source": source.shown, "revision": source.revision, "digest": source.digest}
    return publish(warehouse, name, json.dumps(recipe, ensure_ascii=False), git_commit, where)


def _append_named(warehouse: Warehouse, source: Source) -> None:
    """The documents, teacher calls and fingerprints that an export's rows name; what it left out stays empty."""
    assert source.manifest is not None
    for table, file in source.manifest.named.items():
        record, empty = TABLES[table].record, dict.fromkeys(LEFT_OUT[table], "")
        rows = table_rows(Path(source.name), file)
        while chunk := list(islice(rows, ROWS_A_COMMIT)):
            read = [record(**row_of(table, row, source.manifest.form), **empty) for row in chunk]
            warehouse.append(table, to_frame(record, read))

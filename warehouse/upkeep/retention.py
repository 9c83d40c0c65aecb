"""Retention: removes the data that no dataset version needs.

The unit is a context with everything that was asked about it: the funnel balances before and after, and an item of
synthesis is there whole or not at all. A context goes when only retired versions held its episodes; or when no version
that stays has episodes of its settings and it was there when the newest version was published. Whatever was made since
waits for a publish. What a stricter check or curation kept out under settings in use stays: it says why, and that its
item is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Record
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.leases import unused
from evoembedding.schemas.places import resolve as resolve_place
from evoembedding.warehouse.catalog import Warehouse, fetch_all
from evoembedding.warehouse.datasets.fingerprints import Fingerprints
from evoembedding.warehouse.datasets.versions import list_versions, present_versions, resolve, tags
from evoembedding.warehouse.registry.labels import called
from evoembedding.warehouse.root import Root
from evoembedding.warehouse.upkeep.reclaim import Reclaimed, reclaim, reclaimable

# Kept episodes: of versions that stay, made since the newest version, or kept apart from training. Those of retired
# versions leave, whenever they were made.
_EPISODES = """CREATE OR REPLACE TEMP TABLE kept_episodes AS
WITH staying AS (SELECT episode_id FROM lake.dataset_members WHERE NOT list_contains($retired::VARCHAR[], dataset_id)),
leaving AS (SELECT episode_id FROM lake.dataset_members ANTI JOIN staying USING (episode_id))
SELECT episode_id, context_id, fingerprint FROM lake.episodes SEMI JOIN staying USING (episode_id)
UNION ALL
SELECT episode_id, context_id, fingerprint FROM lake.episodes
ANTI JOIN staying USING (episode_id) ANTI JOIN leaving USING (episode_id)
WHERE snapshot_id > $newest OR split <> 'train'"""
_CONTEXTS = """CREATE OR REPLACE TEMP TABLE gone_contexts AS
WITH RECURSIVE leaving AS (
    SELECT DISTINCT context_id FROM lake.episodes SEMI JOIN
    (SELECT episode_id FROM lake.dataset_members WHERE list_contains($retired::VARCHAR[], dataset_id))
    USING (episode_id)),
needed(context_id) AS (
    SELECT DISTINCT context_id FROM kept_episodes
    UNION
    SELECT context_id FROM lake.contexts ANTI JOIN leaving USING (context_id)
    WHERE snapshot_id > $newest OR split <> 'train' OR list_contains($in_use::VARCHAR[], fingerprint)
    UNION
    SELECT unnest(c.source_ids) FROM lake.contexts c JOIN needed USING (context_id))
SELECT context_id FROM lake.contexts ANTI JOIN needed USING (context_id)"""
# The outcome of an item of teaching goes with its context, those of earlier attempts too, so that synthesis makes it
# anew, from the ledger.
_ITEMS = """CREATE OR REPLACE TEMP TABLE gone_items AS
SELECT DISTINCT item, fingerprint FROM lake.outcomes SEMI JOIN gone_contexts USING (context_id)"""
_QUESTIONS = """CREATE OR REPLACE TEMP TABLE gone_questions AS
SELECT question_id FROM lake.questions SEMI JOIN gone_contexts USING (context_id)"""
# Which rows of a table go. Verdicts that left an episode out of a version stay: publishing and diffs read them.
GOING = {
    "dataset_members": "list_contains($retired::VARCHAR[], dataset_id)",
    "episodes": "context_id IN (SELECT context_id FROM gone_contexts)",
    # `episode_id = ''`: of a check. Curation's name the episode that they leave out.
    "verdicts": "question_id IN (SELECT question_id FROM gone_questions) AND (passed OR episode_id = '')",
    "evidence": "question_id IN (SELECT question_id FROM gone_questions)",
    "questions": "context_id IN (SELECT context_id FROM gone_contexts)",
    "contexts": "context_id IN (SELECT context_id FROM gone_contexts)",
    "outcomes": "(item, fingerprint) IN (SELECT (item, fingerprint) FROM gone_items)",
}


class Expired(Record):
    """What goes, or went: versions retired, rows by table, shard sets' folders, and files."""

    retired: tuple[str, ...]
    rows: dict[str, int]
    shard_sets: tuple[str, ...]
    reclaimed: Reclaimed


def expire(
    warehouse: Warehouse, labels: Sequence[str] = (), force: bool = False, forget_past: bool = False, dry: bool = True
) -> Expired:
    """Retire the versions of these labels and remove what no version needs any more; with `dry`, only say what.

    The rows of versions stay, so that lineage still says what a model was trained on; only their episodes go.
    `forget_past` also gives up the lake's past states of the versions that stay, which hold removed data back.

    Raises:
        EvoError: a label is unknown; or without `force`, a model was trained on its version or a tag points to it.
    """
    retired = list(dict.fromkeys(resolve(warehouse, label, retired=True) for label in labels))
    if not force:
        for version in retired:
            _refuse_if_used(warehouse, version)
    identities = [version.dataset_id for version in retired]
    known, newest = Fingerprints(warehouse), max((v.snapshot for v in list_versions(warehouse)), default=-1)

    def past() -> list[int]:
        return [] if forget_past else _snapshots(_staying(warehouse, identities))

    def look(con: duckdb.DuckDBPyConnection) -> tuple[dict[str, int], Reclaimed]:
        _find(con, known, identities, newest)
        rows = {table: _count(con, table, identities) for table in GOING}
        going = {table: where for table, where in GOING.items() if rows[table]}
        return rows, reclaimable(con, going, {"retired": identities}, past())

    def delete(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
        _find(con, known, identities, newest)
        return {table: _delete(con, table, identities) for table in GOING}

    if dry:
        rows, reclaimed = warehouse.transaction(look)
        folders = _shard_folders(warehouse, identities)
    else:
        with _alone(warehouse):
            # Rows before folders: killed in between, a rerun finds the folders of versions that have no episodes.
            rows = warehouse.transaction(delete)
            folders = _shard_folders(warehouse, identities)
            for place in folders.values():
                Root.of(warehouse.home).remove(place)
            reclaimed = reclaim(warehouse, [table for table, count in rows.items() if count], past())
    return Expired(
        retired=tuple(v.label for v in retired),
        rows=rows,
        shard_sets=tuple(folders),
        reclaimed=reclaimed,
    )


@contextmanager
def _alone(warehouse: Warehouse) -> Iterator[None]:
    """While data are removed: they are this warehouse's own, and nobody copies them.

    Raises:
        EvoError: they may be another's, or a backup is being taken.
    """
    warehouse.check_owner()
    with unused(warehouse.backend.folder / "data", warehouse.home) as free:
        if not free:
            raise EvoError("a backup is being taken of what would go; nothing was removed; rerun when it is complete")
        yield


def _staying(warehouse: Warehouse, retired: Sequence[str]) -> list[DatasetVersion]:
    there = present_versions(warehouse) - set(retired)
    return [version for version in list_versions(warehouse) if version.dataset_id in there]


def _snapshots(versions: Sequence[DatasetVersion]) -> list[int]:
    """The states from which versions were published, and those which their publishing made: `as of` reads these."""
    return sorted({snapshot for version in versions for snapshot in (version.snapshot, version.published)})


def _find(con: duckdb.DuckDBPyConnection, known: Fingerprints, retired: list[str], newest: int) -> None:
    """Make the temporary tables that `GOING` reads."""
    con.execute(_EPISODES, {"retired": retired, "newest": newest})
    marks = fetch_all(con, "SELECT DISTINCT fingerprint FROM kept_episodes")
    in_use = sorted({mark for (last,) in marks for mark in known.line(last)})
    con.execute(_CONTEXTS, {"retired": retired, "newest": newest, "in_use": in_use})
    con.execute(_ITEMS)
    con.execute(_QUESTIONS)


def _count(con: duckdb.DuckDBPyConnection, table: str, retired: list[str]) -> int:
    return _first(con, f"SELECT count(*) FROM lake.{table}", table, retired)  # noqa: S608


def _delete(con: duckdb.DuckDBPyConnection, table: str, retired: list[str]) -> int:
    if not _count(con, table, retired):
        return 0
    return _first(con, f"DELETE FROM lake.{table}", table, retired)  # noqa: S608


def _first(con: duckdb.DuckDBPyConnection, statement: str, table: str, retired: list[str]) -> int:
    where = GOING[table]
    row = con.execute(f"{statement} WHERE {where}", {"retired": retired} if "$retired" in where else {}).fetchone()
    return int(row[0]) if row else 0


def _refuse_if_used(warehouse: Warehouse, version: DatasetVersion) -> None:
    models = warehouse.query(
        """SELECT m.model_id FROM lake.models m JOIN lake.training_runs r USING (training_run_id)
           JOIN lake.shard_sets s USING (shard_set_id) WHERE s.dataset_id = ? ORDER BY m.rowid""",
        (version.dataset_id,),
    )["model_id"].to_list()
    if models:
        named = ", ".join(called(warehouse, model) for model in models[:5])
        raise EvoError(
            f"dataset {version.label} was not retired, since {len(models)} models were trained on it ({named}) and "
            "could not be trained again; nothing was removed; --force retires it"
        )
    pointing = [tag for tag, identity in tags(warehouse, version.name).items() if identity == version.dataset_id]
    if pointing:
        raise EvoError(
            f"dataset {version.label} was not retired, since tags point to it ({', '.join(pointing)}); nothing was "
            "removed; move them, or --force"
        )


def _shard_folders(warehouse: Warehouse, retired: Sequence[str]) -> dict[str, str]:
    """The places, by id, of shard sets that are there and whose version has no episodes, or is being retired."""
    rows = warehouse.query(
        """SELECT shard_set_id, place FROM lake.shard_sets WHERE NOT list_contains(?::VARCHAR[], dataset_id)
           ORDER BY shard_set_id""",
        ([version.dataset_id for version in _staying(warehouse, retired)],),
    )
    return {identity: place for identity, place in rows.iter_rows() if _is_there(warehouse, place)}


def _is_there(warehouse: Warehouse, place: str) -> bool:
    try:
        here = resolve_place(place, warehouse.home).is_dir()
        return here or Root.of(warehouse.home).listing(place) is not None
    except EvoError:  # it is not of this home, as `evo doctor` says: whatever is there stays
        return False

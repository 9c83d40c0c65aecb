"""Dataset versions: an immutable set of episodes named `name@number`.

A filter comes in; the sorted ids of what matches go out, stored as members and hashed to the version's digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Record, Segment, Split
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.ids import content_id
from evoembedding.schemas.moments import now
from evoembedding.warehouse.catalog import Warehouse, fetch_all, fetch_frame, insert_new
from evoembedding.warehouse.datasets.draft_versions import Judged, draft_versions, judged_of, sentence
from evoembedding.warehouse.registry.names import NAME, refuse_models_name
from evoembedding.warehouse.row_digests import with_digest
from evoembedding.warehouse.sources import UNUSABLE_EPISODES

CHUNK = 10_000


class EpisodeFilter(Record):
    """Which episodes a version holds: of these generators, and asked under one of `fingerprints` or accepted under
    one of `verified`. Empty tuples allow all.
    """

    generators: tuple[str, ...] = ()
    split: Split = "train"
    fingerprints: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()  # fingerprints of verification: other thresholds accept other episodes
    curation: str = ""  # fingerprint of verdicts that leave episodes out


MEMBERS = "(SELECT episode_id FROM lake.dataset_members WHERE dataset_id = $dataset)"
EPISODES = f"lake.episodes e SEMI JOIN {MEMBERS} m ON e.episode_id = m.episode_id"  # a version's
# Verdicts of curation name the episode that they leave out; those of checks that reject a question name none ('').
MATCHING = f"""FROM lake.episodes WHERE split = $split
    AND (len($generators::VARCHAR[]) = 0 OR list_contains($generators::VARCHAR[], generator))
    AND (len($fingerprints::VARCHAR[]) + len($verified::VARCHAR[]) = 0
         OR list_contains($fingerprints::VARCHAR[], fingerprint)
         OR episode_id IN (SELECT v.episode_id FROM lake.verdicts v WHERE v.check_name = 'all' AND v.passed
                           AND list_contains($verified::VARCHAR[], v.fingerprint)))
    AND episode_id NOT IN (SELECT r.episode_id FROM lake.verdicts r
                           WHERE NOT r.passed AND r.fingerprint = $curation AND r.episode_id <> '')
    AND episode_id NOT IN ({UNUSABLE_EPISODES})"""  # noqa: S608


def publish(
    warehouse: Warehouse,
    name: str,
    recipe: str,
    git_commit: str | None,
    where: EpisodeFilter,
    curated: str = "",
    and_then: Callable[[duckdb.DuckDBPyConnection, DatasetVersion], None] | None = None,
) -> DatasetVersion:
    """Publish the matching episodes; the same name and content give the version that is there.

    `curated` is the `matching_digest` of the episodes that curation looked at. `and_then` is done in the same
    transaction: nobody sees the version without it.

    Raises:
        EvoError: the name is not allowed, no episode matches, or others match by now than were curated.
    """
    check_name(name)

    def work(con: duckdb.DuckDBPyConnection) -> DatasetVersion:
        version = _publish(con, name, recipe, git_commit or "", where, curated)
        if and_then:
            and_then(con, version)
        return version

    return warehouse.transaction(work)


def check_name(name: str) -> None:
    """Refuse a name that is not plain lower case.

    Raises:
        EvoError: it is not.
    """
    if not NAME.fullmatch(name):
        shown = name if len(name) <= 70 else name[:67] + "..."
        raise EvoError(
            f"dataset name {shown!r} is not allowed; nothing was published; use 1 to 64 of a-z, 0-9, '.', '_' and '-', "
            "starting with a letter or digit"
        )


def resolve(warehouse: Warehouse, label: str, retired: bool = False) -> DatasetVersion:
    """The version of `name@N` or `name@tag`, or the newest of `name` that is no draft; one whose episodes are gone only
    if `retired`.

    Raises:
        EvoError: there is no such version, or it was retired, or all of `name` are drafts.
    """
    version = find_version(warehouse, label)
    if version is None:
        if drafts := [one for one in list_versions(warehouse) if one.name == label]:
            raise EvoError(sentence(drafts[-1], _judged(warehouse, drafts[-1]), "nothing was read"))
        known = ", ".join(v.label for v in list_versions(warehouse)[-10:]) or "none yet; publish one first"
        raise EvoError(f"unknown dataset {label[:80]!r}; nothing was read; the known versions are: {known}")
    if not retired and version.dataset_id not in present_versions(warehouse):
        raise EvoError(
            f"dataset {version.label} was retired by 'evo dataset expire': its episodes are gone, only what it was is "
            f"known; nothing was read; publish '{version.name}' anew, or take another version"
        )
    return version


def find_version(warehouse: Warehouse, label: str) -> DatasetVersion | None:
    """The version of `name@N` or `name@tag`, or the newest of `name` that is no draft, retired or not; None if there is
    none.
    """
    name, at, which = label.partition("@")
    rows = warehouse.query("SELECT * FROM lake.dataset_versions WHERE name = ? ORDER BY number DESC", (name,))
    tagged = tags(warehouse, name).get(which, "") if at else ""
    drafts = set() if at else draft_versions(warehouse)
    for version in _versions(rows):
        meant = version.label == label or version.dataset_id == tagged if at else version.dataset_id not in drafts
        if meant:
            return version
    return None


def trained_on(warehouse: Warehouse, model_id: str) -> DatasetVersion | None:
    """The version that a model was trained on; None where that is not known, as of a model that was imported."""
    rows = warehouse.query(
        """SELECT v.* FROM lake.dataset_versions v JOIN lake.model_versions m USING (dataset_id)
           WHERE m.model_id = ?""",
        (model_id,),
    )
    return DatasetVersion(**rows.row(0, named=True)) if len(rows) else None


def _judged(warehouse: Warehouse, version: DatasetVersion) -> Judged:
    judged = judged_of(warehouse, version.dataset_id)
    assert judged is not None, "a draft was judged"
    return judged


def tags(warehouse: Warehouse, name: str) -> dict[str, str]:
    """The tags of a name and the dataset ids they point to."""
    rows = warehouse.query(
        """SELECT tag, arg_max(dataset_id, sequence) AS dataset_id FROM lake.dataset_tags WHERE name = ?
           GROUP BY tag HAVING arg_max(dataset_id, sequence) <> '' ORDER BY tag""",
        (name,),
    )
    return dict(rows.iter_rows())


def present_versions(warehouse: Warehouse) -> set[str]:
    """The ids of the versions whose episodes are there, also of those that hold none; the others were retired."""
    rows = warehouse.query(
        """SELECT DISTINCT dataset_id FROM lake.dataset_members
           UNION SELECT dataset_id FROM lake.dataset_versions WHERE episodes = 0"""
    )
    return set(rows["dataset_id"])


def list_versions(warehouse: Warehouse) -> list[DatasetVersion]:
    """All versions, oldest first."""
    # In the order in which they were stored, which a clock that was set back does not change.
    return _versions(warehouse.query("SELECT * FROM lake.dataset_versions ORDER BY rowid"))


def snapshot_of(warehouse: Warehouse, version: DatasetVersion) -> int:
    """The snapshot whose commit published a version: what was known then, the version itself included.

    Raises:
        EvoError: that snapshot has been expired.
    """
    kept = warehouse.query("SELECT 1 FROM lake.snapshots() WHERE snapshot_id = ?", (version.published,))
    if kept.is_empty():
        raise EvoError(
            f"snapshot {version.published}, which published {version.label}, has been expired; what was known then "
            "cannot be read; ask without it, for what is known now"
        )
    return version.published


@contextmanager
def as_of(home: Path, label: str) -> Iterator[Warehouse]:
    """The warehouse as it was when a version was published, read-only; `label` is `name@N`, or `name` for its newest.

    Raises:
        EvoError: there is no such version, its snapshot has been expired, or what is asked came later to warehouses.
    """
    with Warehouse.open(home) as now:
        version = resolve(now, label, retired=True)  # what was known then may be there still
        snapshot = snapshot_of(now, version)
    with Warehouse.open(home, at=snapshot) as then:
        try:
            yield then
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            first = str(error).strip().splitlines()[0]
            raise EvoError(
                f"{version.label} was published by an older version of this code, whose tables cannot answer this "
                f"({first}); nothing was shown; ask without it, for what is known now"
            ) from error


def episodes_of(warehouse: Warehouse, dataset_id: str) -> pl.DataFrame:
    """The episodes of a version, by id."""
    return warehouse.query(
        """SELECT e.* FROM lake.episodes e JOIN lake.dataset_members m USING (episode_id)
           WHERE m.dataset_id = ? ORDER BY episode_id""",
        (dataset_id,),
    )


def matching_contexts(warehouse: Warehouse, where: EpisodeFilter) -> Iterator[pl.DataFrame]:
    """The contexts of the matching episodes, in no order: columns context_id, and text without the roles' names."""
    return warehouse.stream(
        f"""SELECT context_id, array_to_string(list_transform(segments, lambda s: s.user || chr(10) || s.assistant),
                                               chr(10)) AS text
            FROM lake.contexts SEMI JOIN (SELECT context_id {MATCHING}) USING (context_id)""",  # noqa: S608
        bound(where),
    )


def matching_questions(warehouse: Warehouse, where: EpisodeFilter) -> Iterator[pl.DataFrame]:
    """The matching episodes, in no order: columns episode_id, question_id, context_id, question."""
    return warehouse.stream(f"SELECT episode_id, question_id, context_id, question {MATCHING}", bound(where))


def matching(where: EpisodeFilter) -> tuple[str, dict[str, object]]:
    """The query of the matching episodes' ids, with its parameters by name."""
    return f"SELECT episode_id {MATCHING}", bound(where)


def matching_digest(warehouse: Warehouse, where: EpisodeFilter) -> str:
    """Identifies the matching episodes, as a version's digest does."""
    sql, bound = matching(where)
    frames = warehouse.stream(f"{sql} ORDER BY episode_id", bound)
    return _hash(row for frame in frames for row in frame.iter_rows())[0]


def count_unpublished(warehouse: Warehouse, where: EpisodeFilter, dataset_id: str) -> int:
    """How many of the matching episodes a version does not hold."""
    held = "SELECT episode_id FROM lake.dataset_members WHERE dataset_id = $dataset"
    query = f"SELECT count(*) FROM (SELECT episode_id {MATCHING}) ANTI JOIN ({held}) USING (episode_id)"  # noqa: S608
    return int(warehouse.query(query, {**bound(where), "dataset": dataset_id}).item())


def members_digest(warehouse: Warehouse, dataset_id: str) -> tuple[str, int]:
    """The digest over the episodes that a version holds now, and how many they are."""
    chunks = warehouse.stream(
        "SELECT episode_id FROM lake.dataset_members WHERE dataset_id = ? ORDER BY episode_id", (dataset_id,), CHUNK
    )
    return _hash(row for rows in chunks for row in rows.iter_rows())


def recipe_name(recipe: str) -> str:
    """The name of a version's stored recipe; of one that is not ours, its beginning."""
    try:
        read = json.loads(recipe)
    except json.JSONDecodeError:
        return recipe[:60]
    return str(read.get("name", "unnamed")) if isinstance(read, dict) else recipe[:60]


def left_out(warehouse: Warehouse, version: DatasetVersion) -> dict[str, int]:
    """How many matching episodes a version leaves out, by check."""
    rows = warehouse.query(
        """SELECT check_name, count(*) FROM lake.verdicts WHERE NOT passed AND fingerprint = ? AND fingerprint <> ''
           GROUP BY ALL ORDER BY ALL""",
        (version.curation,),
    )
    return dict(rows.iter_rows())


def texts_of(warehouse: Warehouse, dataset_id: str, contexts: int) -> Iterator[str]:
    """The training text of a version's first `contexts` contexts: their segments, then their questions and answers.

    Ids are hashes, so the first of them are a fair sample, and the same one every time.
    """
    chosen = f"""(SELECT DISTINCT context_id FROM lake.episodes SEMI JOIN {MEMBERS} USING (episode_id)
                  ORDER BY context_id LIMIT $contexts)"""  # noqa: S608
    bound = {"dataset": dataset_id, "contexts": contexts}
    for rows in warehouse.stream(
        f"SELECT segments FROM lake.contexts SEMI JOIN {chosen} USING (context_id) ORDER BY context_id",  # noqa: S608
        bound,
    ):
        for segment in rows["segments"].explode():
            yield Segment(**segment).text
    for rows in warehouse.stream(
        f"""SELECT question, answer FROM lake.episodes SEMI JOIN {MEMBERS} USING (episode_id)
            SEMI JOIN {chosen} USING (context_id) ORDER BY episode_id""",  # noqa: S608
        bound,
    ):
        yield from (f"{question}\n{answer}" for question, answer in rows.iter_rows())


def _publish(
    con: duckdb.DuckDBPyConnection, name: str, recipe: str, git_commit: str, where: EpisodeFilter, curated: str
) -> DatasetVersion:
    # In the transaction of the publishing, so that nothing can come between this look and that.
    looked_at = where.replace(curation="")
    if curated and _digest(con, f"SELECT episode_id {MATCHING}", bound(looked_at))[0] != curated:
        raise EvoError(
            f"episodes came, or may no longer be used, since those of '{name}' were looked at; it was not published, "
            "since new ones could repeat others or a benchmark; publish again when synthesis has ended"
        )
    members = f"SELECT episode_id {MATCHING}"
    if con.execute(f"{members} LIMIT 1", bound(where)).fetchone() is None:
        raise EvoError(
            f"there are no {where.split} episodes of this recipe; '{name}' was not published; run 'evo synthesize' "
            "with the same recipe first, or publish with the one that it was run with (--recipe)"
        )
    return add_version(con, name, members, bound(where), recipe=recipe, git_commit=git_commit, curation=where.curation)


def add_version(
    con: duckdb.DuckDBPyConnection,
    name: str,
    members: str,
    bound: dict[str, object],
    *,
    recipe: str,
    git_commit: str,
    curation: str,
    newer_than: int = 0,
) -> DatasetVersion:
    """In a transaction: the next version of a name, of the episodes of the query `members` with its parameters.

    The newest version that has this content and a number above `newer_than` is given instead, where there is one.

    Raises:
        EvoError: models have that name.
    """
    refuse_models_name(con, name)
    digest, count = _digest(con, members, bound)
    older = _versions(fetch_frame(con, "SELECT * FROM lake.dataset_versions WHERE name = ? ORDER BY number", [name]))
    for version in reversed(older):
        if version.digest == digest and version.number > newer_than:
            there = fetch_all(
                con, "SELECT 1 FROM lake.dataset_members WHERE dataset_id = ? LIMIT 1", [version.dataset_id]
            )
            if not there:
                _insert_members(con, version.dataset_id, members, bound)  # it was retired; its episodes are there again
            return version
    dataset_id = content_id("ds", {"name": name, "digest": digest})
    if any(version.dataset_id == dataset_id for version in older):  # back to what an older version held
        dataset_id = content_id("ds", {"name": name, "digest": digest, "after": older[-1].label})
    version = DatasetVersion(
        dataset_id=dataset_id,
        name=name,
        number=older[-1].number + 1 if older else 1,
        digest=digest,
        parent=older[-1].label if older else None,
        recipe=recipe,
        git_commit=git_commit,
        snapshot=int(fetch_all(con, "SELECT id FROM lake.current_snapshot()")[0][0]),
        episodes=count,
        created_at=now(),
        curation=curation,
    )
    insert_new(con, "dataset_versions", to_frame(DatasetVersion, [version]))
    _insert_members(con, dataset_id, members, bound)
    return version


def _insert_members(con: duckdb.DuckDBPyConnection, dataset_id: str, members: str, bound: dict[str, object]) -> None:
    rows = with_digest("dataset_members", f"SELECT $new AS dataset_id, episode_id FROM ({members})")  # noqa: S608
    con.execute(f"INSERT INTO lake.dataset_members BY NAME {rows}", {"new": dataset_id, **bound})


def _digest(con: duckdb.DuckDBPyConnection, members: str, bound: dict[str, object]) -> tuple[str, int]:
    result = con.execute(f"SELECT episode_id FROM ({members}) ORDER BY episode_id", bound)  # noqa: S608
    return _hash(row for rows in iter(lambda: result.fetchmany(CHUNK), []) for row in rows)


def _hash(ids: Iterable[tuple[str]]) -> tuple[str, int]:
    hashed, count = hashlib.blake2b(digest_size=32), 0
    for (identity,) in ids:
        hashed.update(identity.encode() + b"\n")
        count += 1
    return hashed.hexdigest(), count


def bound(where: EpisodeFilter) -> dict[str, object]:
    """The parameters of `MATCHING`, by name."""
    return {
        "split": where.split,
        "generators": list(where.generators),
        "fingerprints": list(where.fingerprints),
        "verified": list(where.verified),
        "curation": where.curation,
    }


def _versions(rows: pl.DataFrame) -> list[DatasetVersion]:
    return [DatasetVersion(**row) for row in rows.iter_rows(named=True)]

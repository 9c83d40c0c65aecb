"""Dataset versions: an immutable set of episodes named `name@number`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import polars as pl

from schemas.arrow import to_frame
from schemas.dataset import DatasetVersion
from schemas.episode import Record, Segment, Split
from schemas.errors import EvoError
from schemas.ids import content_id
from warehouse.catalog import Warehouse, fetch_all, insert_new

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
CHUNK = 10_000


class EpisodeFilter(Record):
    """Which episodes a version holds: of these generators, and asked under one of `fingerprints` or accepted under
    one of `verified`. Empty tuples allow all.
    """

    generators: tuple[str, ...] = ()
    split: Split = "train"
    fingerprints: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()  # fingerprints of verification: other thresholds accept other episodes


MATCHING = """FROM lake.episodes WHERE split = $split
    AND (len($generators::VARCHAR[]) = 0 OR list_contains($generators::VARCHAR[], generator))
    AND (len($fingerprints::VARCHAR[]) + len($verified::VARCHAR[]) = 0
         OR list_contains($fingerprints::VARCHAR[], fingerprint)
         OR episode_id IN (SELECT v.episode_id FROM lake.verdicts v WHERE v."check" = 'all' AND v.passed
                           AND list_contains($verified::VARCHAR[], v.fingerprint)))"""


def publish(
    warehouse: Warehouse, name: str, recipe: str, git_commit: str | None, where: EpisodeFilter
) -> DatasetVersion:
    """Publish the matching episodes; the same name and content give the version that is there.

    Raises:
        EvoError: the name is not allowed, or no episode matches.
    """
    check_name(name)
    return warehouse.transaction(lambda con: _publish(con, name, recipe, git_commit or "", where))


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


def resolve(warehouse: Warehouse, label: str) -> DatasetVersion:
    """The version of `name@N`, or the newest of `name`.

    Raises:
        EvoError: there is no such version.
    """
    name = label.partition("@")[0]
    rows = warehouse.query("SELECT * FROM lake.dataset_versions WHERE name = ? ORDER BY number DESC", (name,))
    for version in _versions(rows):
        if label in (name, version.label):
            return version
    known = ", ".join(v.label for v in list_versions(warehouse)[-10:]) or "none yet; publish one first"
    raise EvoError(f"unknown dataset {label[:80]!r}; nothing was read; the known versions are: {known}")


def list_versions(warehouse: Warehouse) -> list[DatasetVersion]:
    """All versions, oldest first."""
    return _versions(warehouse.query("SELECT * FROM lake.dataset_versions ORDER BY created_at, name, number"))


def episodes_of(warehouse: Warehouse, dataset_id: str) -> pl.DataFrame:
    """The episodes of a version, by id."""
    return warehouse.query(
        """SELECT e.* FROM lake.episodes e JOIN lake.dataset_members m USING (episode_id)
           WHERE m.dataset_id = ? ORDER BY episode_id""",
        (dataset_id,),
    )


def context_ids(warehouse: Warehouse, dataset_id: str) -> list[str]:
    """The ids of a version's contexts, in order."""
    rows = warehouse.query(
        """SELECT DISTINCT context_id FROM lake.episodes SEMI JOIN
           (SELECT episode_id FROM lake.dataset_members WHERE dataset_id = ?) USING (episode_id) ORDER BY context_id""",
        (dataset_id,),
    )
    return rows["context_id"].to_list()


def texts_of(warehouse: Warehouse, dataset_id: str) -> Iterator[str]:
    """The training text of a version, context by context: segments, then questions and answers."""
    members = "SELECT episode_id FROM lake.dataset_members WHERE dataset_id = ?"
    contexts = context_ids(warehouse, dataset_id)
    for start in range(0, len(contexts), 500):
        chunk = contexts[start : start + 500]
        segments = warehouse.query(
            "SELECT segments FROM lake.contexts WHERE list_contains(?, context_id) ORDER BY context_id", (chunk,)
        )
        for segment in segments["segments"].explode():
            yield Segment(**segment).text
        asked = warehouse.query(
            f"""SELECT question, answer FROM lake.episodes
                WHERE list_contains(?, context_id) AND episode_id IN ({members}) ORDER BY episode_id""",  # noqa: S608
            (chunk, dataset_id),
        )
        for question, answer in asked.iter_rows():
            yield f"{question}\n{answer}"


def _publish(
    con: duckdb.DuckDBPyConnection, name: str, recipe: str, git_commit: str, where: EpisodeFilter
) -> DatasetVersion:
    digest, count = _digest(con, where)
    if count == 0:
        raise EvoError(
            f"no episodes match {where.model_dump_json()}; '{name}' was not published; run 'evo synthesize' first"
        )
    dataset_id = content_id("ds", {"name": name, "digest": digest})
    older = _versions(con.execute("SELECT * FROM lake.dataset_versions WHERE name = ? ORDER BY number", [name]).pl())
    for version in older:
        if version.dataset_id == dataset_id:
            return version
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
        created_at=datetime.now(UTC).isoformat(),
    )
    insert_new(con, "dataset_versions", to_frame(DatasetVersion, [version]))
    con.execute(
        f"INSERT INTO lake.dataset_members SELECT $dataset_id, episode_id {MATCHING}",
        {"dataset_id": dataset_id, **_bound(where)},
    )
    return version


def _digest(con: duckdb.DuckDBPyConnection, where: EpisodeFilter) -> tuple[str, int]:
    result = con.execute(f"SELECT episode_id {MATCHING} ORDER BY episode_id", _bound(where))
    hashed, count = hashlib.blake2b(digest_size=32), 0
    while rows := result.fetchmany(CHUNK):
        for (episode_id,) in rows:
            hashed.update(episode_id.encode() + b"\n")
        count += len(rows)
    return hashed.hexdigest(), count


def _bound(where: EpisodeFilter) -> dict[str, object]:
    return {
        "split": where.split,
        "generators": list(where.generators),
        "fingerprints": list(where.fingerprints),
        "verified": list(where.verified),
    }


def _versions(rows: pl.DataFrame) -> list[DatasetVersion]:
    return [DatasetVersion(**row) for row in rows.iter_rows(named=True)]

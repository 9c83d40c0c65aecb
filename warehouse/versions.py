"""Dataset versions: an immutable set of episodes named `name@number`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

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
CONTEXTS_A_READ = 1000


class EpisodeFilter(Record):
    """Which episodes a version holds: of these generators, and asked under one of `fingerprints` or accepted under
    one of `verified`. Empty tuples allow all.
    """

    generators: tuple[str, ...] = ()
    split: Split = "train"
    fingerprints: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()  # fingerprints of verification: other thresholds accept other episodes
    curation: str = ""  # fingerprint of verdicts that leave episodes out


class Candidate(NamedTuple):
    """A context with those of its episodes that a filter takes: (episode_id, question_id, question)."""

    context_id: str
    segments: list[dict[str, str]]
    episodes: list[tuple[str, str, str]]


MATCHING = """FROM lake.episodes WHERE split = $split
    AND (len($generators::VARCHAR[]) = 0 OR list_contains($generators::VARCHAR[], generator))
    AND (len($fingerprints::VARCHAR[]) + len($verified::VARCHAR[]) = 0
         OR list_contains($fingerprints::VARCHAR[], fingerprint)
         OR episode_id IN (SELECT v.episode_id FROM lake.verdicts v WHERE v."check" = 'all' AND v.passed
                           AND list_contains($verified::VARCHAR[], v.fingerprint)))
    AND episode_id NOT IN (SELECT r.episode_id FROM lake.verdicts r
                           WHERE NOT r.passed AND r.fingerprint = $curation AND r.episode_id <> '')"""


def publish(
    warehouse: Warehouse, name: str, recipe: str, git_commit: str | None, where: EpisodeFilter, curated: str = ""
) -> DatasetVersion:
    """Publish the matching episodes; the same name and content give the version that is there.

    `curated` is the `matching_digest` of the episodes that curation looked at.

    Raises:
        EvoError: the name is not allowed, no episode matches, or others match by now than were curated.
    """
    check_name(name)
    return warehouse.transaction(lambda con: _publish(con, name, recipe, git_commit or "", where, curated))


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


def candidates(warehouse: Warehouse, where: EpisodeFilter) -> Iterator[list[Candidate]]:
    """The contexts of the matching episodes, by id, some at a time."""
    contexts = warehouse.query(f"SELECT DISTINCT context_id {MATCHING} ORDER BY context_id", _bound(where))
    for start in range(0, len(contexts), CONTEXTS_A_READ):
        chunk = contexts["context_id"][start : start + CONTEXTS_A_READ].to_list()
        asked: dict[str, list[tuple[str, str, str]]] = {}
        for context_id, *rest in warehouse.query(
            f"""SELECT context_id, episode_id, question_id, question {MATCHING}
                AND list_contains($contexts, context_id) ORDER BY episode_id""",
            {**_bound(where), "contexts": chunk},
        ).iter_rows():
            asked.setdefault(context_id, []).append((rest[0], rest[1], rest[2]))
        read = warehouse.query(
            "SELECT context_id, segments FROM lake.contexts WHERE list_contains(?, context_id) ORDER BY context_id",
            (chunk,),
        )
        yield [Candidate(name, segments, asked[name]) for name, segments in read.iter_rows()]


def matching_digest(warehouse: Warehouse, where: EpisodeFilter) -> str:
    """Identifies the matching episodes, as a version's digest does."""
    return _hash(warehouse.query(f"SELECT episode_id {MATCHING} ORDER BY episode_id", _bound(where)).rows())[0]


def left_out(warehouse: Warehouse, version: DatasetVersion) -> dict[str, int]:
    """How many matching episodes a version leaves out, by check."""
    rows = warehouse.query(
        """SELECT "check", count(*) FROM lake.verdicts WHERE NOT passed AND fingerprint = ? AND fingerprint <> ''
           GROUP BY ALL ORDER BY ALL""",
        (version.curation,),
    )
    return dict(rows.iter_rows())


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
    con: duckdb.DuckDBPyConnection, name: str, recipe: str, git_commit: str, where: EpisodeFilter, curated: str
) -> DatasetVersion:
    if curated and _digest(con, where.model_copy(update={"curation": ""}))[0] != curated:
        raise EvoError(
            f"episodes came while those of '{name}' were looked at; it was not published, since the new ones could "
            "repeat others or a benchmark; publish again when synthesis has ended"
        )
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
        curation=where.curation,
    )
    insert_new(con, "dataset_versions", to_frame(DatasetVersion, [version]))
    con.execute(
        f"INSERT INTO lake.dataset_members SELECT $dataset_id, episode_id {MATCHING}",
        {"dataset_id": dataset_id, **_bound(where)},
    )
    return version


def _digest(con: duckdb.DuckDBPyConnection, where: EpisodeFilter) -> tuple[str, int]:
    result = con.execute(f"SELECT episode_id {MATCHING} ORDER BY episode_id", _bound(where))
    return _hash(row for rows in iter(lambda: result.fetchmany(CHUNK), []) for row in rows)


def _hash(ids: Iterable[tuple[str]]) -> tuple[str, int]:
    hashed, count = hashlib.blake2b(digest_size=32), 0
    for (identity,) in ids:
        hashed.update(identity.encode() + b"\n")
        count += 1
    return hashed.hexdigest(), count


def _bound(where: EpisodeFilter) -> dict[str, object]:
    return {
        "split": where.split,
        "generators": list(where.generators),
        "fingerprints": list(where.fingerprints),
        "verified": list(where.verified),
        "curation": where.curation,
    }


def _versions(rows: pl.DataFrame) -> list[DatasetVersion]:
    return [DatasetVersion(**row) for row in rows.iter_rows(named=True)]

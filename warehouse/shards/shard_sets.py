"""Shards: a dataset version tokenised once, sorted by length, in Parquet files that a manifest vouches for."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl
from pydantic import ValidationError

from evoembedding.schemas.arrow import polars_schema, to_frame
from evoembedding.schemas.dataset import DatasetVersion, ShardSet
from evoembedding.schemas.episode import Record
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import file_digest, whole_folder, write_whole
from evoembedding.schemas.ids import content_id
from evoembedding.schemas.leases import leased
from evoembedding.schemas.moments import now
from evoembedding.schemas.places import place_of
from evoembedding.schemas.shard import EpisodeTokenizer, ShardRow
from evoembedding.schemas.text import shown
from evoembedding.schemas.threads import threads
from evoembedding.warehouse.catalog import Warehouse, insert_new
from evoembedding.warehouse.datasets.versions import EPISODES
from evoembedding.warehouse.root import Root
from evoembedding.warehouse.shards.sorted_runs import merged, write_parquet, write_run
from evoembedding.warehouse.shards.tokenisation import tokenise

T = TypeVar("T")
VERSION = 1  # raise when the meaning of a row changes
CONTEXTS_A_CHUNK = 2048
CONTEXTS_A_CALL = 32  # what a call encodes stays in the processor's cache: a quarter less work than 2,048 a call
ROWS_A_GROUP = 64  # what a reader decodes for a batch, in place of a whole file
MANIFEST = "manifest.json"
CONTEXTS = f"SELECT count(DISTINCT context_id) FROM {EPISODES}"  # noqa: S608
WITH_QUESTIONS = f"""SELECT context_id, segments, asked FROM lake.contexts JOIN
    (SELECT context_id, list(
         {{'episode_id': e.episode_id, 'question': question, 'answer': answer, 'evidence': evidence}}
         ORDER BY e.episode_id) AS asked FROM {EPISODES} GROUP BY context_id) USING (context_id)"""  # noqa: S608


class ShardFile(Record):
    """One Parquet file as the manifest knows it."""

    name: str
    rows: int
    bytes: int
    blake2b: str


class Manifest(Record):
    """What a complete shard set holds. It is written last: without it there is no shard set."""

    shard_set_id: str
    dataset_id: str
    tokenizer_digest: str
    rows: int
    tokens: int
    files: tuple[ShardFile, ...]


def build_shards(
    warehouse: Warehouse,
    version: DatasetVersion,
    tokenizer: EpisodeTokenizer,
    folder: Path,
    rows_per_shard: int = 1000,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ShardSet:
    """Write the shard set of a version for a tokenizer to `folder/ID`; a complete one is returned as it is.

    Raises:
        EvoError: a file of the complete set is damaged and `force` is off, or the arguments cannot work.
    """
    if rows_per_shard < 1:
        raise EvoError(f"rows per shard is {rows_per_shard}; no shard was written; give 1 or more")
    identity = _shard_set_id(version, tokenizer, rows_per_shard)
    target, root = folder / identity, Root.of(warehouse.home)
    place = place_of(target, warehouse.home)
    if not force:
        root.bring(place)
    written = force or not (target / MANIFEST).exists()
    with ExitStack() as held:  # what the catalog does not know yet would else be taken for left behind
        if written:
            _build(warehouse, version, tokenizer, target, rows_per_shard, progress, held)
        else:
            held.enter_context(leased(target))
        manifest = check_shards(target, version.label)
        if (manifest.dataset_id, manifest.tokenizer_digest) != (version.dataset_id, tokenizer.digest):
            raise _damaged(target, MANIFEST, "is of another dataset version or tokenizer", version.label)
        if written or root.listing(place) is None:
            root.publish(target)
        shards = _record(target, manifest, place)
        if warehouse.append("shard_sets", to_frame(ShardSet, [shards])):
            return shards
    known = warehouse.query("SELECT * FROM lake.shard_sets WHERE shard_set_id = ?", (identity,)).row(0, named=True)
    shards = shards.replace(created_at=known["created_at"])
    if known["manifest_digest"] != shards.manifest_digest:
        if not written:
            raise _damaged(target, MANIFEST, "is not the one in the catalog", version.label)
        warehouse.transaction(lambda con: _known_anew(con, shards))
    return shards


def _known_anew(con: duckdb.DuckDBPyConnection, shards: ShardSet) -> None:
    """The row of a set that was written again: another version of Polars writes the same rows in other bytes."""
    con.execute("DELETE FROM lake.shard_sets WHERE shard_set_id = ?", [shards.shard_set_id])
    insert_new(con, "shard_sets", to_frame(ShardSet, [shards]))


def read_manifest(path: Path, label: str = "NAME@N") -> Manifest:
    """The manifest of a shard set.

    Raises:
        EvoError: it is missing or cannot be read.
    """
    try:
        manifest = Manifest.model_validate_json((path / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        kind = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise _damaged(path, MANIFEST, kind, label) from error
    # Under the id of another set its row would be that set's.
    if manifest.shard_set_id != path.name:
        raise _damaged(path, MANIFEST, f"is of '{shown(manifest.shard_set_id, 80)}'", label)
    return manifest


def check_shards(path: Path, label: str = "NAME@N") -> Manifest:
    """Compare every file of a shard set with its manifest.

    Raises:
        EvoError: one is missing or has other bytes.
    """
    manifest = read_manifest(path, label)
    for file in manifest.files:
        if not (path / file.name).is_file():
            raise _damaged(path, file.name, "is missing", label)
        found = file_digest(path / file.name)
        if found != file.blake2b:
            raise _damaged(path, file.name, f"has checksum {found[:12]}, manifest says {file.blake2b[:12]}", label)
    return manifest


def read_shards(path: Path, label: str = "NAME@N") -> pl.DataFrame:
    """All rows of a checked shard set, in its order.

    Raises:
        EvoError: the set is damaged.
    """
    manifest = check_shards(path, label)
    frames = [pl.read_parquet(path / file.name, glob=False) for file in manifest.files]
    return pl.concat(frames) if frames else pl.DataFrame(schema=polars_schema(ShardRow))


def _shard_set_id(version: DatasetVersion, tokenizer: EpisodeTokenizer, rows_per_shard: int) -> str:
    return content_id(
        "shards",
        {
            "dataset_id": version.dataset_id,
            "tokenizer_digest": tokenizer.digest,
            "rows_per_shard": rows_per_shard,
            "version": VERSION,
        },
    )


def _build(
    warehouse: Warehouse,
    version: DatasetVersion,
    tokenizer: EpisodeTokenizer,
    target: Path,
    rows_per_shard: int,
    progress: Callable[[int, int], None] | None,
    held: ExitStack,
) -> None:
    with whole_folder(target) as work:
        held.enter_context(leased(work))
        (work / "parts").mkdir()
        rows, tokens = _write_parts(warehouse, version, tokenizer, work / "parts", progress)
        names = _write_sorted(work, rows_per_shard)
        shutil.rmtree(work / "parts")
        files = tuple(_file(work / name, count) for name, count in names)
        manifest = Manifest(
            shard_set_id=target.name,
            dataset_id=version.dataset_id,
            tokenizer_digest=tokenizer.digest,
            rows=rows,
            tokens=tokens,
            files=files,
        )
        write_whole(work / MANIFEST, json.dumps(manifest.model_dump(), indent=1, sort_keys=True) + "\n")


def _write_parts(
    warehouse: Warehouse,
    version: DatasetVersion,
    tokenizer: EpisodeTokenizer,
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> tuple[int, int]:
    """Tokenise all contexts, in no order, into sorted runs; how many rows and tokens those are.

    Threads, because reading, encoding and writing all let go of Python's lock.
    """

    def write(number: int, contexts: pl.DataFrame) -> tuple[int, int, int]:
        part = pl.concat([tokenise(few, tokenizer) for few in contexts.iter_slices(CONTEXTS_A_CALL)])
        write_run(part, folder / f"{number:06d}.parquet")
        return len(part), int(part["tokens"].sum()), int(contexts["asked"].list.len().sum())

    bound = {"dataset": version.dataset_id}
    total = warehouse.query(CONTEXTS, bound).item()
    rows = tokens = episodes = 0
    chunks = enumerate(warehouse.stream(WITH_QUESTIONS, bound, CONTEXTS_A_CHUNK))
    for made in ahead(write, chunks, threads()):
        rows, tokens, episodes = rows + made[0], tokens + made[1], episodes + made[2]
        if progress:
            progress(rows, total)
    if (rows, episodes) != (total, version.episodes):
        raise EvoError(
            f"dataset {version.label} has {version.episodes} episodes, of which the warehouse holds {episodes}, with "
            f"{rows} of their {total} contexts; no shard was written; restore the warehouse from a copy"
        )
    return rows, tokens


def ahead(
    work: Callable[[int, pl.DataFrame], T], items: Iterable[tuple[int, pl.DataFrame]], threads: int
) -> Iterator[T]:
    """The results of `work` on each item, in order, by threads that run at most twice their number ahead."""
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[T]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(work, *item))
                if len(under_way) > 2 * threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            # Whoever takes the results may stop early, by an error or Ctrl-C.
            for future in under_way:
                future.cancel()


def _write_sorted(work: Path, rows_per_shard: int) -> list[tuple[str, int]]:
    """Merge the sorted parts into shards: their names and rows."""
    names: list[tuple[str, int]] = []
    for number, frame in enumerate(merged(sorted((work / "parts").iterdir()), rows_per_shard)):
        name = f"shard-{number:05d}.parquet"
        write_parquet(frame, work / name, "zstd", ROWS_A_GROUP)
        names.append((name, len(frame)))
    return names


def _file(path: Path, rows: int) -> ShardFile:
    return ShardFile(name=path.name, rows=rows, bytes=path.stat().st_size, blake2b=file_digest(path))


def _record(target: Path, manifest: Manifest, place: str) -> ShardSet:
    return ShardSet(
        shard_set_id=manifest.shard_set_id,
        dataset_id=manifest.dataset_id,
        tokenizer_digest=manifest.tokenizer_digest,
        place=place,
        rows=manifest.rows,
        manifest_digest=file_digest(target / MANIFEST),
        created_at=now(),
    )


def _damaged(path: Path, file: str, what: str, label: str) -> EvoError:
    return EvoError(
        f"shard set {path.name}: {file} {what}; training would read damaged rows; rerun 'evo shard {label} --force'"
    )

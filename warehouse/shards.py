"""Shards: a dataset version tokenised once, sorted by length, in Parquet files that a manifest vouches for."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from pydantic import ValidationError

from schemas.arrow import polars_schema, to_frame
from schemas.dataset import DatasetVersion, ShardSet
from schemas.episode import Record, Segment
from schemas.errors import EvoError
from schemas.files import file_digest, write_whole
from schemas.ids import content_id
from schemas.shard import EpisodeTokenizer, ShardQuestion, ShardRow
from warehouse.catalog import SETTINGS, Warehouse
from warehouse.versions import context_ids

VERSION = 1  # raise when the meaning of a row changes
CONTEXTS_A_CHUNK = 200
MANIFEST = "manifest.json"


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
    target = folder / identity
    if force or not (target / MANIFEST).exists():
        _build(warehouse, version, tokenizer, target, rows_per_shard, progress)
    manifest = check_shards(target, version.label)
    shards = _record(target, manifest)
    if warehouse.append("shard_sets", to_frame(ShardSet, [shards])):
        return shards
    made = warehouse.query("SELECT created_at FROM lake.shard_sets WHERE shard_set_id = ?", (identity,)).item()
    return shards.model_copy(update={"created_at": made})


def read_manifest(path: Path, label: str = "NAME@N") -> Manifest:
    """The manifest of a shard set.

    Raises:
        EvoError: it is missing or cannot be read.
    """
    try:
        return Manifest.model_validate_json((path / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        kind = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise _damaged(path, MANIFEST, kind, label) from error


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
    frames = [pl.read_parquet(path / file.name) for file in manifest.files]
    return pl.concat(frames) if frames else pl.DataFrame(schema=polars_schema(ShardRow))


def tokenise(
    contexts: Sequence[dict[str, Any]], episodes: Mapping[str, Sequence[dict[str, Any]]], tokenizer: EpisodeTokenizer
) -> list[ShardRow]:
    """A row for each context with its episodes, by context id. Many texts a call: tokenizers work in batches."""
    segments = [Segment(**segment) for context in contexts for segment in context["segments"]]
    memory, retriever = iter(tokenizer.memory(segments)), iter(tokenizer.retriever(segments))
    asked = [episode for context in contexts for episode in episodes[context["context_id"]]]
    questions = iter(_questions(asked, tokenizer))
    rows = []
    for context in contexts:
        size = len(context["segments"])
        memory_tokens = tuple(map(tuple, islice(memory, size)))
        rows.append(
            ShardRow(
                context_id=context["context_id"],
                segments=size,
                tokens=sum(map(len, memory_tokens)),
                memory_tokens=memory_tokens,
                retriever_tokens=tuple(map(tuple, islice(retriever, size))),
                questions=tuple(islice(questions, len(episodes[context["context_id"]]))),
            )
        )
    return rows


def _questions(episodes: Sequence[dict[str, Any]], tokenizer: EpisodeTokenizer) -> list[ShardQuestion]:
    texts = [episode["question"] for episode in episodes]
    queries, answers = tokenizer.queries(texts), tokenizer.answers(texts, [episode["answer"] for episode in episodes])
    return [
        ShardQuestion(
            episode_id=episode["episode_id"],
            query_tokens=tuple(query),
            answer_before=tuple(before),
            answer_after=tuple(after),
            answer_tokens=tuple(answer),
            evidence=tuple(episode["evidence"]),
        )
        for episode, query, (before, after, answer) in zip(episodes, queries, answers, strict=True)
    ]


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
) -> None:
    work = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
    (work / "parts").mkdir(parents=True)
    try:
        rows, tokens = _write_parts(_rows(warehouse, version, tokenizer, progress), work / "parts")
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
        if target.exists():
            (target / MANIFEST).unlink(missing_ok=True)  # from here on the old set never happened
            shutil.rmtree(target)
        work.rename(target)
        write_whole(target / MANIFEST, json.dumps(manifest.model_dump(), indent=1, sort_keys=True) + "\n")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _rows(
    warehouse: Warehouse,
    version: DatasetVersion,
    tokenizer: EpisodeTokenizer,
    progress: Callable[[int, int], None] | None,
) -> Iterator[list[ShardRow]]:
    """Tokenised chunks of contexts."""
    contexts = context_ids(warehouse, version.dataset_id)
    for start in range(0, len(contexts), CONTEXTS_A_CHUNK):
        chunk = contexts[start : start + CONTEXTS_A_CHUNK]
        episodes = _episodes(warehouse, version, chunk)
        found = warehouse.query(
            "SELECT context_id, segments FROM lake.contexts WHERE list_contains(?, context_id) ORDER BY context_id",
            (chunk,),
        )
        if len(found) != len(chunk):
            raise EvoError(
                f"dataset {version.label} names {len(chunk) - len(found)} contexts that the warehouse lacks; "
                "no shard was written; restore the warehouse from a copy"
            )
        yield tokenise(found.to_dicts(), episodes, tokenizer)
        if progress:
            progress(start + len(chunk), len(contexts))


def _episodes(warehouse: Warehouse, version: DatasetVersion, contexts: list[str]) -> dict[str, list[dict[str, Any]]]:
    rows = warehouse.query(
        """SELECT context_id, episode_id, question, answer, evidence FROM lake.episodes SEMI JOIN
           (SELECT episode_id FROM lake.dataset_members WHERE dataset_id = ?) USING (episode_id)
           WHERE list_contains(?, context_id) ORDER BY context_id, episode_id""",
        (version.dataset_id, contexts),
    )
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        grouped.setdefault(row["context_id"], []).append(row)
    return grouped


def _write_parts(chunks: Iterator[list[ShardRow]], folder: Path) -> tuple[int, int]:
    rows = tokens = 0
    for number, chunk in enumerate(chunks):
        to_frame(ShardRow, chunk).write_parquet(folder / f"{number:06d}.parquet", compression="zstd")
        rows += len(chunk)
        tokens += sum(row.tokens for row in chunk)
    return rows, tokens


def _write_sorted(work: Path, rows_per_shard: int) -> list[tuple[str, int]]:
    """Sort the parts into shards. DuckDB sorts, because it spills to disk what memory cannot hold."""
    parts, written = sorted(str(part) for part in (work / "parts").iterdir()), 0
    if not parts:
        return []
    names: list[tuple[str, int]] = []
    with duckdb.connect(config=SETTINGS) as con:
        con.execute("SET temp_directory = ?", [str(work / "parts" / "spill")])
        ordered = con.execute("SELECT * FROM read_parquet(?) ORDER BY segments, tokens, context_id", [parts])
        for frame in _sized(ordered.to_arrow_reader(rows_per_shard), rows_per_shard):
            name = f"shard-{written:05d}.parquet"
            frame.write_parquet(work / name, compression="zstd")
            names.append((name, len(frame)))
            written += 1
    return names


def _sized(batches: Any, size: int) -> Iterator[pl.DataFrame]:
    """Frames of exactly `size` rows, but for the last: Arrow batches come in sizes of their own."""
    held = pl.DataFrame(schema=polars_schema(ShardRow))
    for batch in batches:
        held = pl.concat([held, pl.DataFrame(batch).cast(held.schema)])
        while len(held) >= size:
            yield held[:size]
            held = held[size:]
    if len(held):
        yield held


def _file(path: Path, rows: int) -> ShardFile:
    return ShardFile(name=path.name, rows=rows, bytes=path.stat().st_size, blake2b=file_digest(path))


def _record(target: Path, manifest: Manifest) -> ShardSet:
    return ShardSet(
        shard_set_id=manifest.shard_set_id,
        dataset_id=manifest.dataset_id,
        tokenizer_digest=manifest.tokenizer_digest,
        path=str(target),
        rows=manifest.rows,
        manifest_digest=file_digest(target / MANIFEST),
        created_at=datetime.now(UTC).isoformat(),
    )


def _damaged(path: Path, file: str, what: str, label: str) -> EvoError:
    return EvoError(
        f"shard set {path.name}: {file} {what}; training would read damaged rows; rerun 'evo shard {label} --force'"
    )

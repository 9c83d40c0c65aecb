"""What imports read, row by row: an exported folder, files of the published form, a dataset of the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.exchange import ExportFile, ExportManifest
from evoembedding.schemas.files import bounded_lines, file_digest
from evoembedding.schemas.ids import digest
from evoembedding.warehouse.exchange.export import read_manifest

SUFFIXES = (".jsonl", ".parquet")
COLUMNS = ("messages", "meta")
LONGEST = 16 * 2**20  # bytes of a row; a context of the paper's longest, 10.3 K tokens, has about 0.1 MB
ROWS_A_READ = 200  # of a Parquet file


class Line(NamedTuple):
    """A row as it was read: JSON bytes or a dictionary, or the reason why it is neither. `item` says where it is."""

    item: str
    row: bytes | dict[str, Any] = b""
    reason: str = ""


class Source(NamedTuple):
    """Where rows come from. `digest` is over all bytes; `manifest` vouches for the files of an export."""

    name: str
    digest: str
    files: tuple[Path, ...] = ()
    revision: str = ""
    licence: str = ""
    manifest: ExportManifest | None = None

    @property
    def shown(self) -> str:
        """The name without the folders that it lies in on this machine."""
        return Path(self.name).name if self.files else self.name


def open_source(name: str) -> Source:
    """Look at a path or a hub id (`owner/name`) and take its digest; no row is read.

    Raises:
        EvoError: there is nothing to import, or the files of an export are not those that it wrote.
    """
    path = Path(name)
    if path.is_dir():
        manifest = read_manifest(path)
        if manifest:
            return _exported(name, path, manifest)
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not files:
            raise EvoError(
                f"folder '{name}' has no {' or '.join(SUFFIXES)} file; nothing was imported; name another folder"
            )
        return Source(name, digest([file_digest(file) for file in files]), tuple(files), licence=_licence(path))
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise EvoError(
                f"'{name}' ends in '{path.suffix}'; nothing was imported; convert it to {' or '.join(SUFFIXES)} first"
            )
        return Source(name, digest([file_digest(path)]), (path,))
    if name.count("/") == 1 and not path.is_absolute() and not path.suffix:
        return _hub(name)
    raise EvoError(
        f"'{name[:200]}' does not exist; nothing was imported; give a file, a folder or a dataset id owner/name"
    )


def lines(source: Source) -> Iterator[Line]:
    """The source's rows in order.

    Raises:
        EvoError: a file or the hub cannot be read any further.
    """
    if not source.files:
        yield from _hub_rows(source)
    for path in source.files:
        # With its folder where there are several: files of two folders may have one name.
        shown = path.name if len(source.files) == 1 else f"{path.parent.name}/{path.name}"
        if path.suffix.lower() == ".parquet":
            _check_columns(path, shown)
        yield from _JSON_OR_PARQUET[path.suffix.lower()](path, shown)


def table_rows(folder: Path, file: ExportFile) -> Iterator[dict[str, Any]]:
    """The rows of a table that an export brings along."""
    path = folder / file.name
    for line in _JSON_OR_PARQUET[path.suffix.lower()](path, file.name):
        yield json.loads(line.row) if isinstance(line.row, bytes) else line.row


def _exported(name: str, folder: Path, manifest: ExportManifest) -> Source:
    for file in manifest.files:
        path = folder / file.name
        # A manifest may come from anybody: it may name nothing outside of its folder.
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise EvoError(
                f"export '{name}' lacks '{file.name}', which its manifest names; nothing was imported; copy it again"
            )
        found = file_digest(path)
        if found != file.blake2b:
            raise EvoError(
                f"export '{name}': '{file.name}' has checksum {found[:12]}, its manifest says {file.blake2b[:12]}; "
                "nothing was imported, since ids would not fit the rows; copy it again, or import the data files "
                "alone, which gives the rows ids of their own"
            )
    files = tuple(folder / file.name for file in manifest.episodes)
    whole = digest([file.blake2b for file in manifest.files])
    return Source(name, whole, files, licence=_licence(folder), manifest=manifest)


def _json_lines(path: Path, shown: str) -> Iterator[Line]:
    try:
        with path.open("rb") as handle:
            for number, raw in bounded_lines(handle, LONGEST):
                if len(raw) > LONGEST:
                    yield Line(f"{shown}:{number}", raw[:2000], f"the row is longer than {LONGEST >> 20} MiB")
                elif raw.strip():
                    yield Line(f"{shown}:{number}", raw)
    except OSError as error:
        raise _unreadable(path, error) from error


def _parquet(path: Path, shown: str) -> Iterator[Line]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(ROWS_A_READ):
                for row in _rows(batch):
                    number += 1
                    item = f"{shown}:{number}"
                    yield Line(item, row) if row is not None else Line(item, reason="a string of it is not valid UTF-8")
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | None]:
    """A batch's rows; None for one with a string that is no UTF-8, which costs no other."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            yield None
            return
        # A row at a time: Arrow decodes a batch as a whole, and does not say which row it tripped over.
        for place in range(batch.num_rows):
            yield from _rows(batch.slice(place, 1))


_JSON_OR_PARQUET = {".jsonl": _json_lines, ".parquet": _parquet}


def _check_columns(path: Path, shown: str) -> None:
    try:
        columns = pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    lacking = [column for column in COLUMNS if column not in columns]
    if lacking:
        raise EvoError(
            f"'{shown}' has no column {' and no '.join(lacking)} (columns: {', '.join(columns)[:300]}); no version was "
            "published; rename the columns that hold them"
        )


def _hub(name: str) -> Source:
    from huggingface_hub import HfApi

    try:
        info = HfApi().dataset_info(name, timeout=30)
    except Exception as error:  # the hub's client raises many kinds; each means that it cannot be read
        raise _unreachable(name, error) from error
    licence = info.card_data.get("license", "") if info.card_data else ""
    revision = info.sha or ""
    # The revision stands for the bytes, which are not fetched before they are read.
    return Source(name, digest({"hub": name, "revision": revision}), revision=revision, licence=str(licence or ""))


def _hub_rows(source: Source) -> Iterator[Line]:
    from datasets import load_dataset

    try:
        # The revision that the digest stands for: by now the hub may have another.
        rows = load_dataset(source.name, split="train", streaming=True, revision=source.revision or None)
        for number, row in enumerate(rows, start=1):
            yield Line(f"{source.name}:{number}", dict(row))
    except Exception as error:
        raise _unreachable(source.name, error) from error


def _licence(folder: Path) -> str:
    """What a dataset card in the folder names, if there is one."""
    from huggingface_hub import DatasetCard

    try:
        return str(DatasetCard.load(folder / "README.md").data.get("license") or "")
    except Exception:  # no card, or one that says nothing we can read
        return ""


def _unreadable(path: Path, error: Exception) -> EvoError:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return EvoError(
        f"'{path.name}' is damaged or cannot be read ({reason}); no version was published; mend it and rerun: what was "
        "read is kept"
    )


def _unreachable(name: str, error: Exception) -> EvoError:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return EvoError(
        f"'{name}' is neither a path nor a dataset of the hub that can be reached ({reason}); no version was "
        "published; check the path, the id or the network, or download its files and give their folder"
    )

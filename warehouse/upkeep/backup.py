"""Backup: a home as it was at one point, taken while commands go on.

The point is the copy of the catalog, taken under the write lock. All else is copied after it, without the lock: what
the catalog names does not change, and is kept from removal by a lease on the data; the ledger and the trainings' files
may be ahead of the catalog, as after a kill, and are what a rerun goes on from.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import PARTIAL, whole_folder, write_whole
from evoembedding.schemas.leases import leased
from evoembedding.schemas.moments import now
from evoembedding.warehouse.backend import CATALOG_URL, DATA_URL, Backend
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.ledger import FILE as LEDGER
from evoembedding.warehouse.upkeep.backup_manifest import FORM, MANIFEST, BackupManifest, digest_of, found_at
from evoembedding.warehouse.upkeep.doctor import examine

CATALOG = "warehouse/catalog.sqlite"
# Copied in ways of their own; and what Prefect keeps of runs on this machine.
APART = {"warehouse", LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", "prefect"}
ATTEMPTS = 5  # at a folder that a running command replaces
_DATA = """SELECT s.path || t.path || f.path FROM (
        SELECT table_id, path FROM ducklake_data_file UNION ALL SELECT table_id, path FROM ducklake_delete_file) f
    JOIN ducklake_table t USING (table_id) JOIN ducklake_schema s USING (schema_id) ORDER BY 1"""
Progress = Callable[[int, int], None]  # bytes done, of all


def back_up(home: Path, target: Path, weights: str, progress: Progress | None = None) -> BackupManifest:
    """Write a backup of a home to a folder, which appears when it is complete and was checked as `evo doctor` does.

    Raises:
        EvoError: the home is on servers, or damaged; or the folder holds something, lies in the home, or cannot be
            written.
    """
    _check(home, target)
    Warehouse.open(home).close()  # brings an older schema up to this code's
    try:
        # The lease before the catalog's copy: from then on nothing that the copy names may be removed.
        with leased(home / "warehouse" / "data"), whole_folder(target) as work:
            _copy_catalog(home, work)
            if (home / LEDGER).exists():
                _copy_sqlite(home / LEDGER, work / LEDGER)
            _copy_files(home, work, progress)
            snapshot = _checked(work, weights)
            # Looking at the copy may have made one.
            (work / "warehouse" / "write.lock").unlink(missing_ok=True)
            places = sorted(path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file())
            files = tuple(found_at(work / place, place) for place in places)
            manifest = BackupManifest(
                form=FORM, created_at=now(), snapshot=snapshot, files=files, digest=digest_of(files)
            )
            write_whole(work / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
        return manifest
    except (OSError, sqlite3.Error) as error:
        raise EvoError(
            f"backup '{target}' was not made: {error}; make room there, or name another folder; 'evo doctor' says "
            "whether the home is damaged"
        ) from error


def _check(home: Path, target: Path) -> None:
    backend = Backend.of(home / "warehouse")
    if backend.catalog or backend.data:
        raise EvoError(
            f"the warehouse is on servers ({CATALOG_URL}, {DATA_URL}), whose own tools copy them; nothing was backed "
            "up; see 'Backup' in docs/warehouse.md"
        )
    if not (home / CATALOG).exists():
        raise EvoError(f"'{home}' holds no warehouse; nothing was backed up; point EVO_HOME to a state folder")
    if target.resolve().is_relative_to(home.resolve()):
        raise EvoError(f"'{target}' lies in the home itself; nothing was backed up; name a folder elsewhere")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise EvoError(f"'{target}' is there already; nothing was backed up; name a new folder")


def _copy_catalog(home: Path, work: Path) -> None:
    (work / "warehouse" / "data").mkdir(parents=True)
    with Backend.of(home / "warehouse").writing():
        _copy_sqlite(home / CATALOG, work / CATALOG)


def _copy_sqlite(path: Path, copy: Path) -> None:
    """All of a database as of one moment, whoever writes to it."""
    with (
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as source,
        closing(sqlite3.connect(copy)) as made,
    ):
        source.backup(made)
        made.execute("PRAGMA journal_mode=DELETE")  # one file, also once it was looked at


def _copy_files(home: Path, work: Path, progress: Progress | None) -> None:
    """What lies in files: those of the lake that the catalog's copy names, then what commands have made beside it."""
    with closing(sqlite3.connect(work / CATALOG)) as con:
        named = [f"warehouse/data/{place}" for (place,) in con.execute(_DATA)]
    beside = [path for path in sorted(home.iterdir()) if _is_made(path) and path.name not in APART]
    # An estimate: what commands write meanwhile is copied too, so that `done` may pass it.
    total, done = sum(_size(path) for path in (*(home / place for place in named), *beside)), 0

    def copied(size: int) -> None:
        nonlocal done
        done += size
        if progress:
            progress(done, max(done, total))

    for place in named:
        (work / place).parent.mkdir(parents=True, exist_ok=True)
        copied(_copy_file(home / place, work / place))
    for path in beside:
        if path.is_dir():
            _copy_folder(path, work / path.name, copied)
        else:
            copied(_copy_file(path, work / path.name))


def _copy_folder(source: Path, copy: Path, copied: Callable[[int], None]) -> bool:
    """Copy a folder; whether it stayed in its place meanwhile, so that the copy is of one and the same.

    A folder within that is replaced, as a training's checkpoints are, is copied whole or not at all; those that come in
    its place are copied too. A file that grows may be longer than what came before it in the alphabet knows of: a
    training's metrics are cut back to its checkpoint.
    """
    copy.mkdir()
    before = _inode(source)
    for _ in range(ATTEMPTS):
        there = {path.name: path for path in _children(source)}
        for gone in [path for path in copy.iterdir() if path.is_dir() and path.name not in there]:
            shutil.rmtree(gone)
        missing = [path for name, path in sorted(there.items()) if not (copy / name).exists()]
        if not missing:
            break
        for path in missing:
            if path.is_dir():
                if not _copy_folder(path, copy / path.name, copied):
                    shutil.rmtree(copy / path.name)
            else:
                copied(_copy_file(path, copy / path.name))
    return before is not None and _inode(source) == before


def _children(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if _is_made(path)]
    except FileNotFoundError:
        return []


def _is_made(path: Path) -> bool:
    """Whether it is a file or folder that was finished."""
    return not path.name.endswith(PARTIAL) and not path.is_symlink() and (path.is_dir() or path.is_file())


def _copy_file(path: Path, copy: Path) -> int:
    """Copy a file; its bytes. One that is gone is missed, if anything names it, when the copy is checked."""
    try:
        shutil.copy2(path, copy)
    except FileNotFoundError:
        return 0
    return copy.stat().st_size


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _size(path: Path) -> int:
    try:
        return sum(map(_size, _children(path))) if path.is_dir() else path.stat().st_size
    except FileNotFoundError:
        return 0


def _checked(work: Path, weights: str) -> int:
    """The copy's snapshot.

    Raises:
        EvoError: something of it is damaged.
    """
    damaged = [finding for finding in examine(work, weights) if finding.kind == "damaged"]
    if damaged:
        raise EvoError(
            f"the home is damaged, so that its backup would be: {damaged[0].says} ({len(damaged)} findings); there is "
            "no backup; see 'evo doctor'"
        )
    with Warehouse.open(work) as warehouse:
        return warehouse.snapshot()

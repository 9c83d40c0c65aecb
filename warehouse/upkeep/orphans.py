"""Orphans: what killed commands have left behind, in the lake and in the state folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from evoembedding.schemas.episode import Record
from evoembedding.schemas.files import PARTIAL
from evoembedding.schemas.leases import unused
from evoembedding.schemas.places import place_of
from evoembedding.schemas.places import remove as remove_place
from evoembedding.warehouse.catalog import SPILL, Warehouse
from evoembedding.warehouse.read_only import writable
from evoembedding.warehouse.shards.shard_sets import MANIFEST

_LAKE = "SELECT path FROM ducklake_delete_orphaned_files('lake', dry_run => true, {which})"


class Orphan(Record):
    """Something that nothing refers to. A `young` one may be of a command that still runs."""

    path: str
    what: str
    young: bool
    in_lake: bool = False


def orphans(warehouse: Warehouse, home: Path, older_than: float) -> list[Orphan]:
    """All of them; those that were touched in the last `older_than` hours are `young`."""
    return [*_in_lake(warehouse, older_than), *_in_folder(warehouse, home, older_than)]


def remove(warehouse: Warehouse, home: Path, older_than: float) -> list[Orphan]:
    """Remove those that are neither young nor in use; returns what was removed.

    Raises:
        EvoError: another process writes to the warehouse, or another warehouse owns its data; nothing was removed.
    """
    # A transaction writes its files before it commits: without the lock they would look like orphans. Nor does anything
    # become known meanwhile: who makes a shard set holds it by a lease until its row is there.
    with warehouse.backend.writing(wait=False):
        old = [orphan for orphan in orphans(warehouse, home, older_than) if not orphan.young]
        if any(orphan.in_lake for orphan in old):
            warehouse.check_owner()
            warehouse.query(
                "SELECT * FROM ducklake_delete_orphaned_files('lake', older_than => ?)", (_before(older_than),)
            )
        return [orphan for orphan in old if orphan.in_lake or _removed(orphan, home)]


def _removed(orphan: Orphan, home: Path) -> bool:
    with unused(Path(orphan.path), home) as free:
        return free and remove_place(place_of(Path(orphan.path), home), home)


def _before(older_than: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=older_than)


def _in_lake(warehouse: Warehouse, older_than: float) -> list[Orphan]:
    """Data files that no snapshot knows: of transactions that were killed before they were committed."""
    if not writable(warehouse.home / "warehouse"):
        return []  # DuckLake looks for them only where it could remove them
    every = warehouse.query(_LAKE.format(which="cleanup_all => true"))["path"]
    old = set(warehouse.query(_LAKE.format(which="older_than => ?"), (_before(older_than),))["path"])
    what = "a data file of a transaction that never was committed"
    return [Orphan(path=path, what=what, young=path not in old, in_lake=True) for path in sorted(every)]


def _in_folder(warehouse: Warehouse, home: Path, older_than: float) -> Iterator[Orphan]:
    limit = time.time() - older_than * 3600
    known = set(warehouse.query("SELECT shard_set_id FROM lake.shard_sets")["shard_set_id"])
    for path, what in sorted({**_shard_folders(home / "shards", known), **_unfinished(home), **_spilled(home)}.items()):
        # Only asked: `_removed` asks again and holds on while it removes.
        with unused(path, home) as free:
            pass
        if path.exists():
            yield Orphan(path=str(path), what=what, young=not free or _touched(path) > limit)


def _shard_folders(folder: Path, known: set[str]) -> dict[Path, str]:
    found = {}
    for path in folder.glob("*"):
        if path.suffix == PARTIAL:
            continue  # found with all that is half-written
        if path.name.startswith(".shards-"):
            found[path] = "a shard set that was never finished"
        elif path.name.startswith("shards-") and not (path / MANIFEST).exists():
            found[path] = "shards without a manifest"
        elif path.name.startswith("shards-") and path.name not in known:
            found[path] = "a shard set that the catalog does not know"
    return found


def _unfinished(home: Path) -> dict[Path, str]:
    """Files and folders that were being written; each was to be renamed when it was whole."""
    places = [home, *(home / name for name in ("runs", "tokenizers", "reports", "shards"))]
    patterns = tuple(f"{above}*{PARTIAL}" for above in ("", "*/", "*/*/"))
    found = {p for place in places for pattern in patterns for p in place.glob(pattern)}
    return {p: "half-written" for p in found if found.isdisjoint(p.parents)}


def _spilled(home: Path) -> dict[Path, str]:
    """What processes that are gone had spilled from memory."""
    found = {}
    for path in (home / "warehouse").glob(f"{SPILL}*"):
        process = path.name.removeprefix(SPILL)
        if process.isdigit() and not _runs(int(process)):
            found[path] = "spilled by a process that is gone"
    return found


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # It is there, though another user's.
    except OSError:
        return True
    return True


def _touched(path: Path) -> float:
    """When it, or anything in it, was last written."""
    within = [path, *path.rglob("*")] if path.is_dir() else [path]
    times = []
    for one in within:
        try:
            times.append(one.stat().st_mtime)
        except FileNotFoundError:  # its writer is at work
            return time.time()
    return max(times)

"""Restore: an empty home becomes what a backup holds, byte by byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import PARTIAL, whole_folder
from evoembedding.schemas.places import resolve
from evoembedding.warehouse.backend import CATALOG_URL, DATA_URL, Backend
from evoembedding.warehouse.upkeep.backup_manifest import BackupManifest, check_copy, read_manifest

LAST = "warehouse"  # a home without it is none


def restore(folder: Path, home: Path, progress: Callable[[int, int], None] | None = None) -> BackupManifest:
    """Fill an empty home from a backup. Each file is checked where it was copied to, before any is put in its place.

    Raises:
        EvoError: the backup is incomplete or damaged, the home holds something, or it cannot be written.
    """
    manifest = read_manifest(folder)
    _check_home(home)
    done = 0
    try:
        # Within the home, which may be a file system of its own.
        with whole_folder(home / "restored") as work:
            for file in manifest.files:
                source, copy = resolve(file.place, folder), resolve(file.place, work)
                copy.parent.mkdir(parents=True, exist_ok=True)
                # What is missing is told by `check_copy`, as what has other bytes is.
                with suppress(FileNotFoundError):
                    shutil.copy2(source, copy)
                check_copy(copy, file, folder)
                done += file.bytes
                if progress:
                    progress(done, manifest.bytes)
        made = home / "restored"
        # The warehouse last: killed before, the home is none yet, and no command takes half of it for whole.
        for path in sorted(made.iterdir(), key=lambda path: path.name == LAST):
            path.rename(home / path.name)
        made.rmdir()
    except OSError as error:
        raise EvoError(
            f"home '{home}' cannot be written ({error.strerror or error}); it was not restored; make room, empty it "
            "and rerun"
        ) from error
    return manifest


def _check_home(home: Path) -> None:
    backend = Backend.of(home / "warehouse")
    if backend.catalog or backend.data:
        raise EvoError(
            f"{CATALOG_URL} or {DATA_URL} is set, and a backup is of a home with its warehouse in it; nothing was "
            "restored; unset them"
        )
    held = [path.name for path in home.iterdir() if not path.name.endswith(PARTIAL)] if home.exists() else []
    if held:
        raise EvoError(
            f"home '{home}' holds something ('{held[0]}'); nothing was restored, since it would be lost; point "
            "EVO_HOME to a new folder, or move that away"
        )

"""SQLite files in a folder that cannot be written: SQLite keeps a lock and a log beside its file, so a copy is read."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder: to root, modes are no hindrance, but a read-only disk is."""
    return os.access(folder, os.W_OK | os.X_OK)


def readable(path: Path, held: ExitStack) -> Path:
    """The file itself; or where its folder cannot be written, a copy with its log, which goes when `held` closes."""
    if writable(path.parent):
        return path
    place = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="evo-read-only-")))
    for name in (path.name, f"{path.name}-wal"):
        if (path.parent / name).exists():
            shutil.copyfile(path.parent / name, place / name)
    return place / path.name

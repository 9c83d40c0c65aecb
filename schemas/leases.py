"""Leases: what is in use is held by a lock of the system, which ends with its process, also by kill -9.

A lease is a shared `flock` on the file or folder itself: nothing is left behind, and it stays when that is renamed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def leased(path: Path) -> Iterator[bool]:
    """Hold a file or folder as in use; whether it is still there once it is held, and not just being removed."""
    with _opened(path) as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        # Between opening and locking it may have been removed, and another may stand in its place.
        yield path.exists() and os.path.samestat(path.stat(), os.fstat(handle))


@contextmanager
def unused(path: Path, root: Path) -> Iterator[bool]:
    """Whether nobody uses a file or folder, by itself or by a folder above it under `root`; so it stays meanwhile."""
    # Who uses a folder holds it alone, and not what is in it.
    above = [one for one in path.parents if one.is_relative_to(root) and one != root]
    with ExitStack() as held:
        try:
            for one in (path, *above):
                handle = held.enter_context(_opened(one))
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            yield False  # it is gone
        except OSError:
            yield False  # somebody's; or where files cannot be locked, nobody knows
        else:
            yield True


def held_alone(path: Path) -> bool:
    """Whether somebody holds a lock file for itself; False where it is gone, or files cannot be locked."""
    try:
        with _opened(path) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    # Where the disk is shared over a network, only what can be written can be locked.
    handle = os.open(path, (os.O_RDONLY if path.is_dir() else os.O_RDWR) | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)

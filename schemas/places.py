"""Places: where something lies under a root, such as `shards/shards-0a1b` under the state folder.

Tables hold places, never paths of a machine: a home that was moved or copied finds its own files, and only these.
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

from evoembedding.schemas.errors import EvoError


def place_of(path: Path, root: Path) -> str:
    """The place of a path under a root.

    Raises:
        EvoError: it does not lie under it.
    """
    base = root.resolve()
    # The last part is not followed: what it links to lies elsewhere, and is refused as such when it is looked up.
    inner = path.parent.resolve() / path.name
    if not inner.is_relative_to(base) or inner == base:
        raise EvoError(f"'{path}' does not lie in '{root}'; a copy of that folder would lack it; put it there")
    return inner.relative_to(base).as_posix()


def resolve(place: str, root: Path) -> Path:
    """The path of a place under a root; whether anything is there is not asked.

    Raises:
        EvoError: it leads out of the root: by being absolute, by `..`, or by a link.
    """
    parts = PurePosixPath(place).parts
    if not parts or place.startswith("/") or ".." in parts or "\0" in place:
        raise _outside(place, root)
    path = root.joinpath(*parts)
    try:
        real = path.resolve()
        # What is still a link then leads to itself: an error before Python 3.13.
        inside = real.is_relative_to(root.resolve()) and not any(p.is_symlink() for p in (real, *real.parents))
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        raise _outside(place, root)
    return path


def remove(place: str, root: Path) -> bool:
    """Remove the file or folder of a place; whether there was one. What a link in it leads to stays.

    Raises:
        EvoError: it leads out of the root, or cannot be removed.
    """
    path = resolve(place, root)
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise EvoError(
            f"'{path}' cannot be removed ({error.strerror or error}); what is left of it stays; make it writable and "
            "rerun"
        ) from error
    return True


def _outside(place: str, root: Path) -> EvoError:
    return EvoError(
        f"place '{place}' leads out of '{root}'; nothing there is read or removed, since it may be another "
        "home's; put the files themselves there, in place of a link or a path"
    )

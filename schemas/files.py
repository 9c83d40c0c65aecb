"""Files that are whole or absent, and their digests."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import secrets
import shutil
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from errno import EDQUOT, EEXIST, ENOSPC, ENOTEMPTY, EROFS
from pathlib import Path
from typing import IO

from evoembedding.schemas.leases import leased, unused

PARTIAL = ".partial"
_FREE = 1 << 20  # bytes; with less than this, nothing can be written
_LONGEST = 200  # bytes of a name, so that what is added to it fits the 255 of a file system


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file that is renamed to `path` at the end: a reader, or a kill, never meets half of it.

    What cannot be finished is removed, also what a writer of `path` that was killed has left. Two writers do not meet:
    the last one's file stays.
    """
    with _partial(path, Path.touch) as partial:
        yield partial
        partial.rename(path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `path` at the end, as `whole` does for files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _partial(path, Path.mkdir) as partial:
        yield partial
        # No folder takes the place of one that holds anything, so the old one steps aside.
        before = _beside(path)
        while True:
            with suppress(FileNotFoundError):
                path.rename(before)
            try:
                partial.rename(path)
                break
            except OSError as error:
                if error.errno not in (EEXIST, ENOTEMPTY):  # there, another writer was faster
                    with suppress(OSError):
                        before.rename(path)
                    raise
                shutil.rmtree(before, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


@contextmanager
def _partial(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A new file or folder beside `path`, held by a lease, so that it is not taken for one that was left behind."""
    for left in path.parent.glob(f"{glob.escape(_stem(path))}.*{PARTIAL}"):
        if re.fullmatch(r"\.\d+-[0-9a-f]{8}", left.name.removeprefix(_stem(path)).removesuffix(PARTIAL)):
            with unused(left, path.parent) as free:
                if free:
                    _discard(left)
    while True:
        partial = _beside(path)
        make(partial)
        with ExitStack() as held:
            try:
                there = held.enter_context(leased(partial))
            except FileNotFoundError:  # removed as an orphan in the moment before
                continue
            if there:
                try:
                    yield partial
                finally:
                    _discard(partial)
                return


def _beside(path: Path) -> Path:
    return path.with_name(f"{_stem(path)}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")


def _stem(path: Path) -> str:
    return os.fsencode(path.name)[:_LONGEST].decode(errors="ignore")


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def remove_folder(path: Path) -> None:
    """Remove a folder that others may be reading: it is whole until it is gone, and never there with a part of it."""
    gone = _beside(path)
    path.rename(gone)
    shutil.rmtree(gone)


def write_whole(path: Path, text: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def file_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes, 64 hex digits, read in blocks."""
    with path.open("rb") as handle:
        return stream_digest(handle)


def stream_digest(stream: IO[bytes]) -> str:
    """The same of what is left of an open file, wherever it lies."""
    return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=32)).hexdigest()  # type: ignore[arg-type]


def bounded_lines(file: IO[bytes], longest: int) -> Iterator[tuple[int, bytes]]:
    """A file's lines, numbered from 1, without a byte order mark; of a longer one its first `longest` + 1 bytes."""
    number = 0
    while raw := file.readline(longest + 1):
        number += 1
        if len(raw) > longest and not raw.endswith(b"\n"):
            while (rest := file.readline(longest)) and not rest.endswith(b"\n"):
                pass
        elif number == 1:
            raw = raw.removeprefix(BOM_UTF8)
        yield number, raw


def is_full(folder: Path) -> bool:
    """Whether nothing more can be written to a folder: some libraries do not say it of a full disk."""
    return folder.exists() and shutil.disk_usage(folder).free < _FREE


def disk_fault(error: BaseException | None) -> str:
    """What the disk refused, where that is behind an error; '' for any other error.

    Libraries say it in their own ways: some raise no OSError, but its words.
    """
    while error is not None:
        for number in (ENOSPC, EDQUOT, EROFS):
            if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    return ""

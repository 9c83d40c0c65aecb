"""Files that are whole or absent, and their digests."""

from __future__ import annotations

import hashlib
import os
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC, EROFS
from pathlib import Path
from typing import IO


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file that is renamed to `path` at the end: a reader, or a kill, never meets half of it.

    What cannot be finished is removed.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.rename(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_whole(path: Path, text: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def file_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes, 64 hex digits, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


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

"""Files that are whole or absent, and their digests."""

from __future__ import annotations

import hashlib
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write UTF-8 text beside `path` and rename it there: a reader, or a kill, never meets half of it."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)


def file_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes, 64 hex digits, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=32)).hexdigest()

"""What is published of a place at a URL: its files, each with its digest."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from evoembedding.schemas.episode import Record
from evoembedding.schemas.files import file_digest

LISTING = ".listing.json"  # under the place, written last


class Listed(Record):
    """A file of a place: its name under it, empty where the place is that file."""

    name: str
    bytes: int
    blake2b: str

    @property
    def at(self) -> str:
        """What it is called at the URL: `shard-00000-1a2b3c4d5e6f.parquet`."""
        path = PurePosixPath(self.name or "file")
        return path.with_name(f"{path.stem}-{self.blake2b[:12]}{path.suffix}").as_posix()


class Listing(Record):
    """What a place holds."""

    files: tuple[Listed, ...]


def listed_file(path: Path, folder: Path) -> Listed:
    """A file of a folder, or the place itself where it is that file."""
    name = "" if path == folder else path.relative_to(folder).as_posix()
    return Listed(name=name, bytes=path.stat().st_size, blake2b=file_digest(path))

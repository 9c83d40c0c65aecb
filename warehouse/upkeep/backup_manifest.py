"""What a complete backup holds. It is written last: without it there is no backup."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from evoembedding.schemas.episode import Record
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import file_digest
from evoembedding.schemas.ids import digest

MANIFEST = "backup.json"
FORM = 1  # raise when older code could not restore it


class BackupFile(Record):
    """A file by its place in the home, and so in the backup."""

    place: str
    bytes: int
    blake2b: str


class BackupManifest(Record):
    """The files of a home at one point."""

    form: int
    created_at: datetime
    snapshot: int  # of the lake
    files: tuple[BackupFile, ...]
    digest: str  # of the files' digests, so that none can be missing from the list

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def read_manifest(folder: Path) -> BackupManifest:
    """The manifest of a backup.

    Raises:
        EvoError: there is none, it cannot be read, or newer code wrote it.
    """
    try:
        manifest = BackupManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise EvoError(
            f"'{folder}' is no complete backup, since its {MANIFEST} cannot be read; nothing was restored; name a "
            "folder that 'evo backup' has made"
        ) from error
    if manifest.form <= FORM and digest_of(manifest.files) != manifest.digest:
        raise EvoError(
            f"backup '{folder}' is damaged: the files that its {MANIFEST} lists are not those it was made of; nothing "
            "was restored; use another backup"
        )
    if manifest.form > FORM:
        raise EvoError(
            f"backup '{folder}' is of form {manifest.form}, and this code knows {FORM}; nothing was restored; use the "
            "newer version of this code that made it"
        )
    return manifest


def digest_of(files: Iterable[BackupFile]) -> str:
    """BLAKE2b over all files, their places and digests."""
    return digest([file.model_dump() for file in files])


def found_at(path: Path, place: str) -> BackupFile:
    """A file as it is."""
    return BackupFile(place=place, bytes=path.stat().st_size, blake2b=file_digest(path))


def check_copy(copy: Path, file: BackupFile, folder: Path) -> None:
    """Compare what was copied of a backup with its manifest.

    Raises:
        EvoError: it is missing, or has other bytes.
    """
    try:
        same = found_at(copy, file.place) == file
    except FileNotFoundError:
        same = False
    if not same:
        raise EvoError(
            f"backup '{folder}' is damaged: '{file.place}' is missing, or has not the {file.bytes} bytes with digest "
            f"{file.blake2b[:12]} that {MANIFEST} says; nothing was restored; use another backup"
        )

"""Where documents come from: a file, a folder, or a Hugging Face dataset id, and what of it can be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from evoembedding.schemas.dataset import Failure
from evoembedding.schemas.episode import Document
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.text import shown
from evoembedding.synth.documents.files import SUFFIXES, ending, name_of, read_file
from evoembedding.synth.documents.rows import failure, from_row


class Read(NamedTuple):
    """A document or what failed, and the file that it was in: its name in the source, or that of a folder."""

    file: str
    row: Document | Failure


class Source(NamedTuple):
    """What would be read: files with their names, or a dataset of the hub. `unread` are files of other kinds."""

    given: str
    files: tuple[tuple[Path, str], ...] = ()
    unread: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()
    alone: bool = False  # a file was named, no folder

    def read(self, license: str = "") -> Iterator[Read]:
        """Everything, a row at a time; `license` is that of documents which carry none.

        Raises:
            EvoError: the hub cannot be read any further.
        """
        yield from (Read(failed.item, failed) for failed in self.failed)
        for path, name in self.files:
            yield from (Read(name, row) for row in read_file(path, name, license))
        if not self.files and not self.failed:
            yield from (Read(self.given, row) for row in _read_hub(self.given, license))


def open_source(given: str) -> Source:
    """Look at what is there; no document is read.

    Raises:
        EvoError: there is nothing to read, or it is of an unknown kind.
    """
    path = Path(given)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise _missing(given, f"cannot be looked at ({error.strerror})") from None
    if not given.strip():
        raise _missing(given, "names nothing")
    if is_folder:
        return _folder(given, path)
    if is_file:
        if ending(path) not in SUFFIXES:
            raise EvoError(
                f"'{shown(name_of(path), 200)}' ends in '{shown(path.suffix)}'; nothing was ingested; documents are "
                f"read from {', '.join(SUFFIXES)}; convert it first"
            )
        return Source(given, ((path, name_of(Path(path.name))),), alone=True)
    if given.count("/") == 1 and not path.is_absolute() and not path.suffix:
        return Source(given)
    raise _missing(given, "does not exist")


def read_documents(given: str, license: str = "") -> Iterator[Document | Failure]:
    """The documents of a source and what failed; what `open_source` refuses is refused."""
    return (read.row for read in open_source(given).read(license))


def _missing(given: str, what: str) -> EvoError:
    return EvoError(
        f"'{shown(given, 200)}' {what}; nothing was ingested; give a file, a folder or a dataset id owner/name"
    )


def _folder(given: str, folder: Path) -> Source:
    files, unread, failed = list[tuple[Path, str]](), list[str](), list[Failure]()

    def cannot(error: OSError) -> None:
        name = name_of(Path(os.path.relpath(error.filename, folder))) + "/"
        failed.append(failure(name, f"the folder cannot be read ({error.strerror})"))

    for where, folders, names in os.walk(folder, onerror=cannot):
        here = Path(where)
        linked = [name for name in folders if (here / name).is_symlink()]  # not followed: links may go round
        for path in (here / name for name in (*names, *linked)):
            name = name_of(path.relative_to(folder))
            if path.is_symlink() and not path.exists():
                failed.append(failure(name, "the link leads to nothing"))
            elif ending(path) in SUFFIXES and path.is_file():
                files.append((path, name))
            else:
                unread.append(name)
    if not files and not failed:
        kinds = f"; it has {unread_kinds(unread)}" if unread else ""
        raise EvoError(
            f"folder '{shown(given, 200)}' has no {', '.join(SUFFIXES)} file{kinds}; nothing would be ingested; name "
            "another"
        )
    # In one order everywhere: a disk lists names as it likes.
    return Source(given, tuple(sorted(files)), tuple(sorted(unread)), tuple(failed))


def unread_kinds(names: tuple[str, ...] | list[str]) -> str:
    """Files by what their names end in, the most frequent first, a few of each named."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(ending(Path(name)), []).append(name)
    order = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    return ", ".join(
        f"{len(held)} {shown(kind) or 'without an ending'} ({', '.join(shown(name, 80) for name in held[:3])}"
        f"{', …' if len(held) > 3 else ''})"
        for kind, held in order
    )


def _read_hub(name: str, license: str) -> Iterator[Document | Failure]:
    from datasets import load_dataset

    try:
        rows = load_dataset(name, split="train", streaming=True)
        for offset, row in enumerate(rows):
            yield from_row(dict(row), f"{name}:{offset}", license)
    except Exception as error:  # the hub client raises many kinds; each means that the source cannot be read
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EvoError(
            f"'{shown(name, 200)}' is neither a file nor a readable dataset ({shown(reason)}); check the path, the id "
            "or the network"
        ) from error

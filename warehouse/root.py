"""Where files lie that one machine writes and others read: in the state folder; or under a URL, and then the folder
holds copies.

A place (`schemas/places.py`) is a file or a folder, and is whole or absent: its listing, with the digest of every file,
is written last and looked for first. Files are named by their digests as well, so that one that is published anew never
takes another's name: a reader, or a kill, meets what was there before or what is there then.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.fs as pafs
from pydantic import ValidationError

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import file_digest, stream_digest, whole, whole_folder
from evoembedding.schemas.places import place_of, remove, resolve
from evoembedding.warehouse.backend import DATA_URL, check_url
from evoembedding.warehouse.listing import LISTING, Listed, Listing, listed_file
from evoembedding.warehouse.s3 import file_system

BLOCK = 1 << 20


class Root:
    """The state folder, and the URL where there is one. Any thread, and any number of machines."""

    def __init__(self, home: Path, url: str = "") -> None:
        self.home, self.url = home, url.rstrip("/")
        self._opened: pafs.FileSystem | None = None

    @classmethod
    def of(cls, home: Path, environment: Mapping[str, str] = os.environ) -> Root:
        """The root that the environment names for a state folder.

        Raises:
            EvoError: its URL is of no known kind, or holds a key.
        """
        if url := environment.get(DATA_URL, ""):
            check_url(DATA_URL, url)
        return cls(home, url)

    @property
    def remote(self) -> bool:
        """Whether files lie under a URL."""
        return bool(self.url)

    def bring(self, place: str) -> Path:
        """Where a place is on this machine, copied from the URL if it is not here yet; whether it is anywhere is not
        asked.

        Raises:
            EvoError: it leads out of the folder, or cannot be read; or what was read is not what was published.
        """
        path = resolve(place, self.home)
        if not path.exists() and (listing := self.listing(place)):
            self._copy(place, path, listing)
        return path

    def publish(self, path: Path) -> str:
        """Let other machines have a file or folder of the state folder, which is complete; its place.

        What was there before under that place is replaced; whoever has a copy of it keeps that.

        Raises:
            EvoError: it does not lie in the state folder, or cannot be written.
        """
        place = place_of(path, self.home)
        if not self.remote:
            return place
        inner = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        files = tuple(listed_file(one, path) for one in inner)
        before = self.listing(place)
        with self._reached(place) as there:
            for one, listed in zip(inner, files, strict=True):
                with there.open_output_stream(self._at(place, listed.at)) as stream, one.open("rb") as file:
                    shutil.copyfileobj(file, stream, BLOCK)
            with there.open_output_stream(self._listing_at(place)) as stream:
                stream.write(Listing(files=files).model_dump_json().encode())
            self._delete(place, set(before.files if before else ()) - set(files))
        return place

    def listing(self, place: str) -> Listing | None:
        """What is published of a place; None if nothing is.

        Raises:
            EvoError: the URL cannot be read, or the listing is damaged.
        """
        if not self.remote:
            return None
        with self._reached(place) as there:
            try:
                with there.open_input_stream(self._listing_at(place)) as stream:
                    return Listing.model_validate_json(stream.read())
            except FileNotFoundError:
                return None
            except ValidationError as error:
                raise self._damaged(place, LISTING, "cannot be read") from error

    def places(self, folder: str) -> list[str]:
        """The places that are published within a folder of places.

        Raises:
            EvoError: the URL cannot be read.
        """
        if not self.remote:
            return []
        with self._reached(folder) as there:
            base = self._at("", "")
            found = there.get_file_info(pafs.FileSelector(self._at(folder, ""), allow_not_found=True, recursive=True))
            inner = (one.path.removeprefix(f"{base}/") for one in found if one.base_name == LISTING)
            return [path.removesuffix(f"/{LISTING}") for path in inner]

    def damage(self, place: str, deep: bool) -> str:
        """What is wrong with what is published of a place; '' if nothing is. Only with `deep` bytes are read.

        Raises:
            EvoError: the URL cannot be read.
        """
        if (listing := self.listing(place)) is None:
            return "is not published"
        with self._reached(place) as there:
            for listed in listing.files:
                found = there.get_file_info(self._at(place, listed.at))
                if found.type != pafs.FileType.File:
                    return f"lacks {listed.name or 'its file'}"
                if found.size != listed.bytes:
                    return f"has {found.size} bytes of {listed.name or 'its file'}, not {listed.bytes}"
                if deep:
                    with there.open_input_stream(self._at(place, listed.at)) as stream:
                        if stream_digest(stream) != listed.blake2b:
                            return f"holds other bytes in {listed.name or 'its file'} than were published"
        return ""

    def file(self, place: str, listed: Listed, to: Path) -> None:
        """Copy one file of a place to a path, whole or not at all, and compare it with what was published.

        Raises:
            EvoError: it cannot be read, or differs.
        """
        to.parent.mkdir(parents=True, exist_ok=True)
        with whole(to) as partial:
            with self._reached(place) as there:
                try:
                    with there.open_input_stream(self._at(place, listed.at)) as stream, partial.open("wb") as file:
                        shutil.copyfileobj(stream, file, BLOCK)
                except FileNotFoundError as error:
                    raise self._damaged(place, listed.name, "is missing") from error
            if (found := file_digest(partial)) != listed.blake2b:
                says = f"has digest {found[:12]}, published was {listed.blake2b[:12]}"
                raise self._damaged(place, listed.name, says)

    def remove(self, place: str) -> bool:
        """Remove a place, here and at the URL; whether there was one. Whoever calls has asked whether it may.

        Raises:
            EvoError: it leads out of the folder, or cannot be removed.
        """
        here = remove(place, self.home)
        if (listing := self.listing(place)) is None:
            return here
        with self._reached(place) as there:
            # The listing first: without it there is no place, also where this is broken off.
            there.delete_file(self._listing_at(place))
            self._delete(place, listing.files)
        return True

    def _delete(self, place: str, files: Iterable[Listed]) -> None:
        with self._reached(place) as there:
            for listed in files:
                with suppress(FileNotFoundError):  # another machine was faster
                    there.delete_file(self._at(place, listed.at))

    def _copy(self, place: str, path: Path, listing: Listing) -> None:
        try:
            self._copy_once(place, path, listing)
        except EvoError:
            # Published anew while it was copied: what is gone was of before.
            if (newer := self.listing(place)) is None or newer == listing:
                raise
            self._copy_once(place, path, newer)

    def _copy_once(self, place: str, path: Path, listing: Listing) -> None:
        if [listed.name for listed in listing.files] == [""]:
            self.file(place, listing.files[0], path)
            return
        with whole_folder(path) as partial:
            for listed in listing.files:
                self.file(place, listed, resolve(listed.name, partial))

    def _at(self, place: str, name: str) -> str:
        """What the file system calls a file of a place."""
        parts = urlsplit(self.url)
        return "/".join(part for part in (f"{parts.netloc}{parts.path}", place, name) if part)

    def _listing_at(self, place: str) -> str:
        return f"{self._at(place, '')}/{LISTING}"

    @contextmanager
    def _reached(self, place: str) -> Iterator[pafs.FileSystem]:
        """The file system; what it cannot do is one sentence."""
        try:
            if self._opened is None:
                self._opened = file_system()
            yield self._opened
        except FileNotFoundError:
            raise
        except OSError as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise EvoError(
                f"'{self.url}/{place}' cannot be read or written: {first}; what was complete before is kept; see that "
                "the bucket is there, that the server runs, and that the AWS_ variables give rights to it"
            ) from error

    def _damaged(self, place: str, name: str, says: str) -> EvoError:
        return EvoError(
            f"'{self.url}/{place}': {name or 'it'} {says}; it was not used; make it again with --force, or restore it "
            "from a version of the bucket's"
        )

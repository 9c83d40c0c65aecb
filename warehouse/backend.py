"""Where a warehouse lies: in the state folder, or with its catalog in Postgres and its data in S3, by two URLs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import duckdb_extensions
import psycopg

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import is_full
from evoembedding.warehouse.s3 import set_s3

# All data of several machines lie under one URL: the lake's under `warehouse`, or where a URL of their own says.
CATALOG_URL, DATA_URL, LAKE_URL = "EVO_CATALOG_URL", "EVO_DATA_URL", "EVO_WAREHOUSE_URL"
CATALOG = "catalog.sqlite"
FULL = ("No space left on device", "disk is full", "not enough disk space")
FORGOTTEN = "No snapshot found at version"
UNWRITABLE = ("Read-only file system", "readonly database", "Permission denied")
# 'evo' in ASCII: any number would do that nobody else takes.
LOCK = 0x65766F  # of Postgres' advisory locks: whoever writes to a warehouse of this database holds it


@dataclass(frozen=True)
class Backend:
    """A catalog and a place for data files. Secrets are in neither: libpq and S3 take them from the environment."""

    folder: Path  # of the write lock, and of whatever has no URL
    catalog: str = ""  # postgresql://USER@HOST/DATABASE; empty: a SQLite file in the folder
    data: str = ""  # s3://BUCKET/PREFIX; empty: in the folder
    copied: str = ""  # of the SQLite file, where it lies in a folder that cannot be written

    @classmethod
    def of(cls, folder: Path, environment: Mapping[str, str] = os.environ) -> Backend:
        """The backend that the environment names for a warehouse folder.

        Raises:
            EvoError: a URL is of no known kind, or holds a password.
        """
        catalog, data, lake = (environment.get(name, "") for name in (CATALOG_URL, DATA_URL, LAKE_URL))
        if catalog:
            _check_catalog(catalog)
        for name, url in ((DATA_URL, data), (LAKE_URL, lake)):
            if url:
                check_url(name, url)
        if data and lake and f"{data.rstrip('/')}/".startswith(f"{lake.rstrip('/')}/"):
            # DuckLake takes whatever lies under its data path and is not its own for left behind, and removes it.
            raise EvoError(
                f"{DATA_URL} lies in {LAKE_URL}, whose own tools would remove what is kept there; nothing was opened; "
                "give two URLs of which neither holds the other"
            )
        return cls(folder, catalog, lake or (f"{data.rstrip('/')}/warehouse" if data else ""))

    @property
    def data_path(self) -> str:
        """Where data files go, with a slash at its end."""
        return f"{self.data.rstrip('/')}/" if self.data else f"{self.folder}/data/"

    @property
    def recorded_path(self) -> str:
        """What the catalog says of that: in a folder relative to it, so that a copy never names the original's."""
        return "data/" if not (self.catalog or self.data) else self.data_path

    @property
    def name(self) -> str:
        """What errors call the warehouse."""
        return " with data at ".join(part for part in (self.catalog, self.data) if part) or str(self.folder)

    def attach(self, con: duckdb.DuckDBPyConnection, *options: str) -> None:
        """Attach the catalog as `lake`, with further options of DuckLake's ATTACH.

        Raises:
            duckdb.Error: it cannot be attached.
        """
        # From packages that are installed with us, so that a warehouse opens without a network.
        for extension in self._extensions():
            duckdb_extensions.import_extension(extension, con=con)
            con.load_extension(extension)
        if self.data:
            set_s3(con)
        place = f"postgres:{self.catalog}" if self.catalog else f"sqlite:{self.copied or self.folder / CATALOG}"
        # A folder may have been moved. Few rows are files as well: DuckLake would keep lists of texts in its catalog as
        # one text, and after a '}' in one of them it cannot read the table any more.
        settings = [f"DATA_PATH '{quoted(self.data_path)}'", "OVERRIDE_DATA_PATH true", "DATA_INLINING_ROW_LIMIT 0"]
        settings += options
        if not self.catalog:
            # Readers do not wait for a writer, and writers of other programs get their turn.
            settings += ["META_BUSY_TIMEOUT 30000", "META_JOURNAL_MODE 'WAL'"]
        con.execute(f"ATTACH 'ducklake:{quoted(place)}' AS lake ({', '.join(settings)})")

    @contextmanager
    def writing(self, wait: bool = True) -> Iterator[None]:
        """Hold the write lock; it is let go of when a process is killed.

        Raises:
            EvoError: Postgres cannot be reached; or with `wait` off, another process holds it.
        """
        if self.catalog:
            with self._postgres() as con:
                # The session's lock, not a transaction's: it ends with this connection, however that ends.
                take = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
                row = con.execute(f"SELECT {take}(%s)", (LOCK,)).fetchone()
                if not wait and not (row and row[0]):
                    raise self._busy()
                yield
        else:
            try:
                handle = (self.folder / "write.lock").open("w")
            except OSError as error:
                raise self.broken(error) from error
            with handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                except BlockingIOError:
                    raise self._busy() from None
                yield

    def broken(self, error: Exception) -> EvoError:
        """The sentence for a warehouse that cannot be used."""
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        if any(sign in first for sign in FULL) or is_full(self.folder):  # SQLite calls it an I/O error
            first = f"{first} (the disk is full)"
            way_out = "make room and rerun, what was committed is kept"
        elif FORGOTTEN in first:
            way_out = "'evo dataset expire' has given that past state up; look at the warehouse as it is"
        elif any(sign in first for sign in UNWRITABLE):
            way_out = "make its folder writable, or point EVO_HOME elsewhere"
        elif self.catalog or self.data:
            way_out = "see that the servers run, and that PGPASSWORD and the AWS_ variables are set"
        else:
            way_out = "'evo doctor' says what is damaged; restore the folder from a copy, or move it away"
        return EvoError(
            f"warehouse '{self.name}' cannot be used: {first}; nothing was stored by this command; {way_out}"
        )

    def _busy(self) -> EvoError:
        return EvoError(f"another process writes to warehouse '{self.name}'; nothing was done; try again when it ends")

    def database(self) -> str:
        """Which database of which server the catalog is, by whatever address it is reached."""
        with self._postgres() as con:
            row = con.execute(
                """SELECT system_identifier, oid FROM pg_control_system(), pg_database
                   WHERE datname = current_database()"""
            ).fetchone()
        return " ".join(map(str, row or ()))

    def _postgres(self) -> psycopg.Connection[Any]:
        try:
            return psycopg.connect(self.catalog, autocommit=True)
        except psycopg.OperationalError as error:
            raise self.broken(error) from error

    def _extensions(self) -> tuple[str, ...]:
        return (
            "ducklake",
            "postgres_scanner" if self.catalog else "sqlite_scanner",
            *(("httpfs",) if self.data else ()),
        )


def _check_catalog(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql") or not parts.path.strip("/"):
        raise EvoError(
            f"{CATALOG_URL} is no Postgres URL; nothing was opened; give postgresql://USER@HOST:PORT/DATABASE, or "
            "unset it for a catalog in the state folder"
        )
    if parts.password or "password" in parse_qs(parts.query):
        raise EvoError(
            f"{CATALOG_URL} holds a password, which errors would show; nothing was opened; put it in PGPASSWORD"
        )


def check_url(name: str, url: str) -> None:
    """Raises EvoError where the variable's URL is none of a place for data, or holds a key."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or "@" in parts.netloc:
        raise EvoError(
            f"{name} is not of the form s3://BUCKET/PREFIX; nothing was opened; put keys in AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or unset it for data in the state folder"
        )


def quoted(text: str) -> str:
    """Text within a literal, for statements that take no bound parameters: ATTACH, COMMENT, COPY."""
    return text.replace("'", "''")

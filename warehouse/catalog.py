"""The DuckLake catalog: opening it, querying it, and appending to it so that a rerun adds nothing twice."""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from glob import escape
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import duckdb
import polars as pl

from evoembedding.schemas.arrow import polars_schema
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.threads import threads
from evoembedding.warehouse.backend import CATALOG, DATA_URL, LAKE_URL, Backend
from evoembedding.warehouse.migration.schema import bring_up, is_current
from evoembedding.warehouse.owner import check_owner, recorded_path, take_over
from evoembedding.warehouse.read_only import readable, writable
from evoembedding.warehouse.row_digests import with_digest
from evoembedding.warehouse.tables import DIGEST, TABLES
from evoembedding.warehouse.transactions import in_transaction

T = TypeVar("T")
Parameters = Sequence[object] | Mapping[str, object]

# DuckLake names the race that a writer lost in words alone: these are worth another attempt, nothing else is.
CONFLICTS = (
    "Failed to commit DuckLake transaction",
    "Failed to query most recent snapshot",
    "database is locked",
)
DAMAGE = (
    "malformed",
    "not a database",
    "Failed to probe DuckLake metadata",
    "no such table: ducklake",
    "from DuckLake:",  # what it could not get from its catalog, where even names of columns can be damaged
)
# Mistakes of our own. Anything else means damage: a Parquet file can break in as many ways as DuckDB has errors.
OURS = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.TransactionException,
    duckdb.InterruptException,
    duckdb.OutOfMemoryException,
)
# DuckLake's words for no catalog at all, as against a damaged one: only then may one be made.
NOT_THERE = "creating a new DuckLake is explicitly disabled"
# With the pauses of `_retry` between them, a command gives up after 5 to 11 seconds.
ATTEMPTS = 12
SPILL = "spill-"  # and the process: what memory cannot hold
SETTINGS: dict[str, str | bool | int | float | list[str]] = {"threads": threads(), "memory_limit": "2GB"}


class LostCatalogError(Exception):
    """Data files are there, and no catalog that knows them."""


class Warehouse:
    """A connection to one warehouse. Safe to share between threads; processes open their own."""

    def __init__(
        self, home: Path, backend: Backend, con: duckdb.DuckDBPyConnection, held: ExitStack | None = None
    ) -> None:
        """`held` is closed with the connection."""
        self.home, self.backend, self._held = home, backend, held or ExitStack()
        self._con = con
        # Guards the connection. Reentrant, since the work of a transaction may query by this warehouse (`withdraw`).
        self._thread_lock = threading.RLock()

    @classmethod
    def open(cls, home: Path, read_only: bool = False, at: int | None = None) -> Warehouse:
        """Open the warehouse of a state folder, making it if there is none.

        Opening one that is complete waits for no writer. One in a folder that cannot be written is opened read-only.
        One of an older schema is brought to that of this code, once. With `at` it is opened read-only as it was at that
        snapshot, in the schema of then.

        Raises:
            EvoError: the folder cannot be written, its catalog is damaged or of a newer schema, or it has no such
                snapshot.
        """
        folder = home / "warehouse"
        try:
            if not folder.is_dir() or writable(folder):
                (folder / "data").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EvoError(
                f"state folder '{home}' cannot be made ({error.strerror}); nothing was stored; point EVO_HOME elsewhere"
            ) from error
        backend, held = Backend.of(folder), ExitStack()
        spill = folder / f"{SPILL}{os.getpid()}"
        con = duckdb.connect(config=SETTINGS)
        try:
            if not writable(folder):
                read_only, spill = True, Path(tempfile.gettempdir()) / f"evo-{SPILL}{os.getpid()}"
                # SQLite makes files beside its own, also to read.
                if not backend.catalog and (folder / CATALOG).exists():
                    backend = replace(backend, copied=str(readable(folder / CATALOG, held)))
            if not os.access(os.environ.get("HOME", ""), os.W_OK):  # where it would unpack its extensions
                con.execute("SET home_directory = ?", [str(home)])
            # Without one, what memory cannot hold would be spilled into the caller's folder. DuckDB makes no parents.
            con.execute("SET temp_directory = ?", [str(spill)])
            con.execute("SET GLOBAL TimeZone = 'UTC'")  # of moments that are read; global, so that cursors have it too
            if read_only or at is not None:
                _retry(
                    lambda: backend.attach(con, "READ_ONLY", *([f"SNAPSHOT_VERSION {at:d}"] if at is not None else []))
                )
                con.execute("USE lake")
                if at is None:
                    is_current(con, backend.name, writable=False)
            else:
                _open_or_make(con, backend)
        except BaseException as error:
            con.close()
            held.close()
            if isinstance(error, duckdb.Error | OSError | UnicodeDecodeError):
                raise backend.broken(error) from error
            raise
        return cls(home, backend, con, held)

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._con.close()
        self._held.close()

    def query(self, sql: str, params: Parameters = ()) -> pl.DataFrame:
        """Rows of a query with its parameters bound, by place or by name; rows' digests are not handed out.

        Raises:
            EvoError: the catalog or one of its files is damaged.
        """
        with self._thread_lock:
            return self._guarded(lambda: fetch_frame(self._con, sql, params))

    def query_known(self, sql: str, params: Parameters = ()) -> list[dict[str, Any]]:
        """The same by name; none where a table is not there, as of a time before this code's warehouses had it.

        Raises:
            EvoError: the catalog or one of its files is damaged.
        """
        try:
            return self.query(sql, params).to_dicts()
        except duckdb.CatalogException:
            return []

    def stream(self, sql: str, params: Parameters = (), rows: int = 2048) -> Iterator[pl.DataFrame]:
        """Rows of a query, about `rows` at a time, on a cursor of their own: other queries may run in between.

        Raises:
            EvoError: the catalog or one of its files is damaged.
        """
        with self._con.cursor() as cursor:
            # Which catalog is in use is a connection's own, and a cursor is one.
            self._guarded(lambda: cursor.execute("USE lake"))
            bound = params if isinstance(params, Mapping) else list(params)
            reader = self._guarded(lambda: cursor.execute(sql, bound).to_arrow_reader(rows))
            while True:
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
                except OSError as error:  # what Arrow makes of DuckDB's errors
                    raise self.backend.broken(error) from error
                yield pl.DataFrame(batch).drop(DIGEST, strict=False)

    def append(self, table: str, frame: pl.DataFrame) -> int:
        """Append the rows whose key is not there yet; how many those were."""
        return self.append_all({table: frame})[table]

    def append_all(self, frames: Mapping[str, pl.DataFrame]) -> dict[str, int]:
        """Append to several tables in one transaction; the number of new rows by table."""
        checked = {name: _checked(name, frame) for name, frame in frames.items()}
        if all(frame.is_empty() for frame in checked.values()):
            return dict.fromkeys(checked, 0)
        return self.transaction(lambda con: {name: insert_new(con, name, frame) for name, frame in checked.items()})

    def transaction(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run `work` in one transaction, again from its start on a commit conflict.

        Writers take turns: DuckLake lets two appends commit side by side, so that neither would see the other's keys.
        """

        def attempt() -> T:
            with in_transaction(self._con):
                return work(self._con)

        with self._thread_lock, self.backend.writing():
            return self._guarded(attempt)

    def check_owner(self) -> None:
        """Refuse to delete in data that may be another warehouse's.

        Raises:
            EvoError: they may be.
        """
        with self._thread_lock:
            self._guarded(lambda: check_owner(self._con, self.backend))

    def take_over(self) -> None:
        """Own the data from now on."""
        with self._thread_lock, self.backend.writing():
            self._guarded(lambda: take_over(self._con, self.backend))

    def snapshot(self) -> int:
        """The current snapshot id."""
        return int(self.query("SELECT id FROM lake.current_snapshot()").item())

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return _retry(work)
        except duckdb.Error as error:
            if isinstance(error, OURS) and not any(sign in str(error) for sign in (*CONFLICTS, *DAMAGE)):
                raise
            raise self.backend.broken(error) from error
        except UnicodeDecodeError as error:  # an error of DuckDB's that quotes what it could not read
            raise self.backend.broken(error) from error
        except RuntimeError as error:
            if "Query interrupted" in str(error):  # what DuckDB makes of a Ctrl-C that comes while it works
                self._con.interrupt()
                raise KeyboardInterrupt from error
            raise


def fetch_frame(con: duckdb.DuckDBPyConnection, sql: str, params: Parameters = ()) -> pl.DataFrame:
    """Rows of a query inside a transaction, without the digests that `*` gives along."""
    found = con.execute(sql, params if isinstance(params, Mapping) else list(params)).pl()
    return found.drop(DIGEST, strict=False)


def fetch_all(con: duckdb.DuckDBPyConnection, sql: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Rows of a query inside a transaction."""
    return con.execute(sql, list(params)).fetchall()


def insert_new(con: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> int:
    """Insert the rows of a checked frame whose key the table lacks; how many those were."""
    if frame.is_empty():
        return 0
    # DuckLake has no primary keys: this join, under the write lock, is what keeps a key from being there twice.
    same = " AND ".join(f'new."{column}" = old."{column}"' for column in TABLES[name].key)
    rows = f"SELECT new.* FROM incoming new ANTI JOIN lake.{name} old ON {same}"  # noqa: S608
    con.register("incoming", frame.to_arrow())
    try:
        row = con.execute(f"INSERT INTO lake.{name} BY NAME {with_digest(name, rows)}").fetchone()
    finally:
        con.unregister("incoming")
    return int(row[0]) if row else 0


def _checked(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    if name not in TABLES:
        raise EvoError(f"unknown table '{name}'; nothing was stored; the tables are: {', '.join(TABLES)}")
    table = TABLES[name]
    schema = pl.Schema(polars_schema(table.record))
    if set(frame.columns) != set(schema):
        odd = ", ".join(sorted(set(frame.columns) ^ set(schema)))
        raise EvoError(
            f"rows for table '{name}' differ from its columns in: {odd}; nothing was stored; "
            f"make them with to_frame({table.record.__name__}, rows)"
        )
    # `insert_new` looks at the table alone: a key that comes twice within a frame would be stored twice.
    return frame.select(schema.names()).cast(schema).unique(subset=list(table.key), keep="first", maintain_order=True)


def _open_or_make(con: duckdb.DuckDBPyConnection, backend: Backend) -> None:
    """Attach the catalog; under the write lock only where it, or a table or column of it, has yet to be made."""
    try:
        _retry(lambda: backend.attach(con, "CREATE_IF_NOT_EXISTS false"))
    except duckdb.InvalidInputException as error:
        if NOT_THERE not in str(error):
            raise
        with backend.writing():
            _retry(lambda: _make(con, backend))
    con.execute("USE lake")
    _refuse_data_of_before(con, backend)
    if not is_current(con, backend.name):
        with backend.writing():
            _retry(lambda: bring_up(con, backend.name))
    if not backend.catalog and not backend.data and recorded_path(con) != backend.recorded_path:
        with backend.writing():  # of an older version of this code
            _retry(lambda: take_over(con, backend))


def _refuse_data_of_before(con: duckdb.DuckDBPyConnection, backend: Backend) -> None:
    """Refuse a catalog whose data lie where they did before other files had their place beside them.

    Raises:
        EvoError: they do.
    """
    if backend.data and f"{recorded_path(con)}warehouse/" == backend.data_path:
        before = recorded_path(con).rstrip("/")
        raise EvoError(
            f"the data of this catalog lie in '{before}' itself, and not in '{backend.data}'; nothing was read; set "
            f"{LAKE_URL}={before}, and {DATA_URL} to a place beside it, such as '{before}-files'"
        )


def _make(con: duckdb.DuckDBPyConnection, backend: Backend) -> None:
    """Make a catalog unless another process has made it by now. Data without a catalog is a catalog lost.

    Raises:
        EvoError: there are data files already, which a new catalog would not know.
    """
    try:
        backend.attach(con, "CREATE_IF_NOT_EXISTS false")
    except duckdb.InvalidInputException as error:
        if NOT_THERE not in str(error):
            raise
        if con.execute("SELECT 1 FROM glob(?) LIMIT 1", [f"{escape(backend.data_path)}**/*.parquet"]).fetchone():
            raise backend.broken(
                LostCatalogError("its catalog is missing or empty, though data files are there")
            ) from error
        backend.attach(con)
        take_over(con, backend)


def _retry(work: Callable[[], T]) -> T:
    for attempt in range(ATTEMPTS):
        try:
            return work()
        except duckdb.Error as error:
            if attempt == ATTEMPTS - 1 or not any(sign in str(error) for sign in CONFLICTS):
                raise
            # At random, so that writers that met once do not meet again at every attempt.
            time.sleep(random.uniform(0.5, 1.0) * min(0.02 * 2**attempt, 2.0))
    raise AssertionError("the last attempt returns or raises")

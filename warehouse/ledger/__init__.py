"""The teacher-call ledger: every answered call, so that none is paid for twice.

A SQLite file of the state folder, or tables of the catalog's PostgreSQL, which the drivers of several machines share.
"""

from __future__ import annotations

from pathlib import Path

from evoembedding.warehouse.backend import Backend
from evoembedding.warehouse.ledger.postgres import PostgresLedger
from evoembedding.warehouse.ledger.sqlite import FILE, SqliteLedger
from evoembedding.warehouse.ledger.stored import StoredLedger

__all__ = ["FILE", "PostgresLedger", "SqliteLedger", "StoredLedger", "ledger_is_there", "open_ledger"]


def open_ledger(home: Path) -> StoredLedger:
    """The ledger of a state folder, made if there is none: in PostgreSQL where the catalog is there.

    Raises:
        EvoError: it cannot be made, or is no ledger.
    """
    backend = Backend.of(home / "warehouse")
    return PostgresLedger.open(backend.catalog) if backend.catalog else SqliteLedger.open(home)


def ledger_is_there(home: Path) -> bool:
    """Whether there is one: opening it would make one.

    Raises:
        EvoError: the server cannot be asked.
    """
    backend = Backend.of(home / "warehouse")
    return PostgresLedger.is_there(backend.catalog) if backend.catalog else (home / FILE).exists()

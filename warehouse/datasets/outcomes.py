"""Outcomes of items: which are done under which stages, and which failed and may be tried again.

Fingerprints of the last stage come in; names of items go out.
"""

from __future__ import annotations

from collections.abc import Collection

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.teacher import TeacherCall
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.ledger import StoredLedger

CALLS_A_COMMIT = 5000


def attempts(warehouse: Warehouse, scope: str) -> dict[str, int]:
    """The highest attempt of each item, under whatever stages: what was retried once stays retried."""
    rows = warehouse.query("SELECT item, max(attempt) FROM outcomes WHERE scope = ? GROUP BY item", (scope,))
    return dict(rows.iter_rows())


def done(warehouse: Warehouse, fingerprints: Collection[str]) -> set[str]:
    """The items that have an outcome under one of these fingerprints of the last stage."""
    rows = warehouse.query(
        "SELECT DISTINCT item FROM outcomes WHERE list_contains(?::VARCHAR[], fingerprint)", (list(fingerprints),)
    )
    return set(rows["item"])


def failed(warehouse: Warehouse, fingerprints: Collection[str]) -> set[str]:
    """The items whose latest attempt under these fingerprints left something without an answer."""
    rows = warehouse.query(
        """WITH latest AS (SELECT item, fingerprint, max(attempt) AS attempt FROM outcomes
                           WHERE list_contains(?::VARCHAR[], fingerprint) GROUP BY ALL)
           SELECT DISTINCT l.item FROM latest l JOIN failures f
           ON f.item = l.item AND f.attempts = l.attempt AND f.fingerprint = l.fingerprint
           WHERE f.retryable""",
        (list(fingerprints),),
    )
    return set(rows["item"])


def copy_calls(warehouse: Warehouse, ledger: StoredLedger, scope: str) -> int:
    """Bring the scope's new calls from the ledger into `teacher_calls`; how many there were."""
    # By their ids, not by time: a clock that was set back would leave calls behind for ever.
    there = set(warehouse.query("SELECT call_id FROM teacher_calls WHERE scope = ?", (scope,))["call_id"])
    new, chunk = 0, list[TeacherCall]()
    for call in ledger.calls(scope, there):
        chunk.append(call)
        if len(chunk) == CALLS_A_COMMIT:
            new += warehouse.append("teacher_calls", to_frame(TeacherCall, chunk))
            chunk.clear()
    return new + warehouse.append("teacher_calls", to_frame(TeacherCall, chunk))

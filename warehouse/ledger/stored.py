"""What is kept of teachers' calls and how it is read, in statements that SQLite and PostgreSQL both take.

Moments are texts in ISO 8601 and UTC, whose order as texts is theirs: SQLite has no type for them.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Sequence
from hashlib import blake2b
from typing import Any, ClassVar

from evoembedding.schemas.budget import Paid, Spent
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.ids import canonical
from evoembedding.schemas.moments import now
from evoembedding.schemas.teacher import TeacherCall, TeacherRequest

Run = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]  # a statement with `?` for each value; its rows
COLUMNS = tuple(TeacherCall.model_fields)
ALL = (*COLUMNS, "request", "seal")
INTEGERS, REALS = ("prompt_tokens", "completion_tokens"), ("seconds", "cost")  # all others are texts
# What each table's seals are over, and how many of these columns are its key.
SEALED = {
    "calls": (*COLUMNS, "request"),
    "faults": ("teacher", "endpoint", "kind", "count", "last_at"),
    "charged": ("scope", "calls", "tokens", "cost"),
}
_KEYS = {"faults": 3, "charged": 1}
_FIND = f"SELECT {', '.join(ALL)} FROM calls WHERE call_id = ?"  # noqa: S608
_RECORD = f"""INSERT INTO calls ({", ".join(ALL)}) VALUES ({", ".join("?" * len(ALL))})
    ON CONFLICT DO NOTHING RETURNING call_id"""  # noqa: S608
_TOTALS = (
    *("scope", "stage", "model", "calls", "malformed"),
    *("prompt_tokens", "completion_tokens", "seconds_a_call", "cost"),
)


class StoredLedger(ABC):
    """Implements `schemas.teacher.Ledger` on a database."""

    remote: ClassVar[bool]
    _STORE: ClassVar[str]
    _LOCKED: ClassVar[str]  # what a SELECT ends with that keeps others from its rows until the transaction ends

    def __init__(self, name: str) -> None:
        """`name` is what errors call it."""
        self.name = name

    @abstractmethod
    def close(self) -> None:
        """Give the database back."""

    @abstractmethod
    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query.

        Raises:
            EvoError: the database cannot be read.
        """

    @abstractmethod
    def _write(self, what: str, work: Callable[[Run], None]) -> None:
        """Run `work` in one transaction; it is durable when this returns.

        Raises:
            EvoError: `what` could not be written.
        """

    @abstractmethod
    def damage(self, deep: bool) -> Iterator[str]:
        """What is wrong with the database; with `deep`, also whose answers are not those that were kept."""

    @abstractmethod
    def _spend(self, run: Run, scope: str, spent: Spent) -> None:
        """Keep a running sum of what a scope has spent, where one is kept."""

    def find(self, call_id: str) -> TeacherCall | None:
        """The call of that key, if it was answered.

        Raises:
            EvoError: the ledger is damaged, or the answer is not the one that was kept.
        """
        rows = self._rows(_FIND, (call_id,))
        if not rows:
            return None
        if not sound(rows[0]):
            raise EvoError(
                f"the answer of call {call_id} in the teacher-call ledger '{self.name}' is not the one that was kept; "
                "it was not used, nor asked for again, which would be paid for; "
                f"restore the {self._STORE} from a copy, or move it away"
            )
        return _call(rows[0])

    def record(self, call: TeacherCall, request: TeacherRequest) -> None:
        """Keep an answered call with its request; durable when this returns.

        Raises:
            EvoError: it could not be written, for example on a full disk.
        """
        fields = call.model_dump(mode="json") | {"valid": "1" if call.valid else "0"}
        row = (*(fields[c] for c in COLUMNS), zlib.compress(canonical(request.model_dump()), 1))
        spent = Spent(calls=1, tokens=call.prompt_tokens + call.completion_tokens, cost=call.cost)

        def keep(run: Run) -> None:
            if run(_RECORD, (*row, seal(row))):  # else it is there
                self._spend(run, call.scope, spent)

        self._write(f"the answer of call {call.call_id}", keep)

    def request(self, call_id: str) -> bytes | None:
        """The canonical JSON of what was asked."""
        rows = self._rows("SELECT request FROM calls WHERE call_id = ?", (call_id,))
        return zlib.decompress(rows[0][0]) if rows else None

    def fault(self, teacher: str, endpoint: str, kind: str) -> None:
        """Count a call that got no answer, or something odd about one that did.

        Raises:
            EvoError: it could not be written.
        """
        key, at = (teacher, endpoint, kind), now().isoformat()
        self._write("a fault", lambda run: self._move_on(run, "faults", key, (0, ""), lambda n, _: (n + 1, at)))

    def charge(self, scope: str, spent: Spent) -> None:
        """Remember what a request without an answer may have been charged.

        Raises:
            EvoError: it could not be written.
        """
        self._write("a request without an answer", lambda run: self._charge(run, scope, spent))

    def _charge(self, run: Run, scope: str, spent: Spent) -> None:
        def add(calls: int, tokens: int, cost: float) -> tuple[int, int, float]:
            return calls + spent.calls, tokens + spent.tokens, cost + spent.cost

        self._move_on(run, "charged", (scope,), (0, 0, 0.0), add)
        self._spend(run, scope, spent)

    def _move_on(
        self, run: Run, table: str, key: tuple[str, ...], start: tuple[Any, ...], on: Callable[..., tuple[Any, ...]]
    ) -> None:
        """Move the counters of a row on, and its seal with them, unless the row was changed: then it stays found."""
        columns, keys = SEALED[table], _KEYS[table]
        same = " AND ".join(f"{column} = ?" for column in columns[:keys])
        run(
            f"INSERT INTO {table} ({', '.join(columns)}, seal) VALUES ({', '.join('?' * len(columns))}, ?) "  # noqa: S608
            "ON CONFLICT DO NOTHING",
            (*key, *start, seal((*key, *start))),
        )
        [row] = run(f"SELECT {', '.join(columns)}, seal FROM {table} WHERE {same}{self._LOCKED}", key)  # noqa: S608
        try:
            moved = on(*row[keys:-1])
        except TypeError:  # a counter that is no number any more stays, and is found
            return
        sets = ", ".join(f"{column} = ?" for column in (*columns[keys:], "seal"))
        run(
            f"UPDATE {table} SET {sets} WHERE {same}",  # noqa: S608
            (*moved, seal((*key, *moved)) if sound(row) else row[-1], *key),
        )

    def charged(self) -> dict[str, Spent]:
        """By scope, what requests without an answer may have been charged."""
        rows = self._rows("SELECT scope, calls, tokens, cost FROM charged ORDER BY scope")
        return {scope: Spent(calls=calls, tokens=tokens, cost=cost) for scope, calls, tokens, cost in rows}

    def faults(self) -> dict[str, int]:
        """What went wrong with calls, by kind."""
        rows = self._rows("SELECT kind, CAST(sum(count) AS BIGINT) FROM faults GROUP BY kind ORDER BY kind")
        return dict(rows)

    def calls(self, scope: str, but: Container[str] = ()) -> Iterator[TeacherCall]:
        """A scope's answered calls but those of some ids, in the order in which they were answered."""
        # By rowid, since a clock may be set back; and one by one, since rows hold whole answers and `find` checks each.
        for (call_id,) in self._rows("SELECT call_id FROM calls WHERE scope = ? ORDER BY rowid", (scope,)):
            if call_id not in but and (call := self.find(call_id)):
                yield call

    def pace(self, scope: str) -> dict[str, dict[str, float]]:
        """By stage: mean prompt and completion tokens a call, calls an item, and calls a minute of those with calls."""
        rows = self._rows(
            """SELECT stage, CAST(avg(prompt_tokens) AS DOUBLE PRECISION),
                      CAST(avg(completion_tokens) AS DOUBLE PRECISION),
                      CAST(1.0 * count(*) / count(DISTINCT item) AS DOUBLE PRECISION),
                      CAST(1.0 * count(*) / count(DISTINCT substr(created_at, 1, 16)) AS DOUBLE PRECISION)
               FROM calls WHERE scope = ? GROUP BY stage""",
            (scope,),
        )
        names = ("prompt_tokens", "completion_tokens", "calls_an_item", "calls_a_minute")
        return {stage: dict(zip(names, values, strict=True)) for stage, *values in rows}

    def totals(self) -> list[dict[str, Any]]:
        """A row a scope, stage and model: calls, malformed ones among them, tokens, seconds a call, cost."""
        rows = self._rows(
            """SELECT scope, stage, model, count(*), count(*) FILTER (WHERE valid = '0'),
                      CAST(sum(prompt_tokens) AS BIGINT), CAST(sum(completion_tokens) AS BIGINT),
                      avg(seconds), sum(cost)
               FROM calls GROUP BY scope, stage, model ORDER BY scope, stage, model"""
        )
        return [dict(zip(_TOTALS, row, strict=True)) for row in rows]

    def paid(self) -> list[Paid]:
        """A row a scope and month, of answered calls."""
        rows = self._rows(
            """SELECT scope, substr(created_at, 1, 7), count(*),
                      CAST(sum(prompt_tokens + completion_tokens) AS BIGINT), sum(cost)
               FROM calls GROUP BY 1, 2 ORDER BY 1, 2"""
        )
        return [Paid(**dict(zip(Paid.model_fields, row, strict=True))) for row in rows]

    def spent(self, scope: str) -> Spent:
        """The sum over a scope's calls, malformed answers included: they were paid for; and over its requests without
        an answer that may have been.
        """
        [row] = self._rows(
            """SELECT count(*), CAST(coalesce(sum(prompt_tokens + completion_tokens), 0) AS BIGINT),
                      coalesce(sum(cost), 0.0)
               FROM calls WHERE scope = ?""",
            (scope,),
        )
        charged = self.charged().get(scope, Spent())
        return Spent(calls=row[0] + charged.calls, tokens=row[1] + charged.tokens, cost=row[2] + charged.cost)


def seal(row: Sequence[Any]) -> str:
    """A hash over a row as it is kept: neither database has checksums of rows."""
    fields = [value for value in row if not isinstance(value, bytes)]
    return blake2b(canonical(fields) + b"".join(v for v in row if isinstance(v, bytes)), digest_size=16).hexdigest()


def sound(row: Sequence[Any]) -> bool:
    """Whether a row, its seal last, is what was kept."""
    *kept, found = row
    try:
        return bool(seal(kept) == found)
    except TypeError:  # a value is of another type by now
        return False


def unsealed(table: str, row: Sequence[Any]) -> str:
    """What is said of a row that is not sound."""
    what = "the answer of call" if table == "calls" else f"the row in '{table}' of"
    return f"{what} {row[0]} is not the one that was kept"


def _call(row: Sequence[Any]) -> TeacherCall:
    fields = dict(zip(COLUMNS, row, strict=False))
    return TeacherCall(**fields | {"valid": fields["valid"] == "1"})

"""Whether a call may be sent now, decided within one transaction of the ledger's PostgreSQL."""

from __future__ import annotations

from evoembedding.schemas.budget import Budget, Reservation, Spent
from evoembedding.warehouse.ledger.stored import Run

_SUM = "CAST(coalesce(sum(calls), 0) AS BIGINT), CAST(coalesce(sum(tokens), 0) AS BIGINT), coalesce(sum(cost), 0.0)"


def reserve(run: Run, owner: int, scope: str, budget: Budget, call_id: str, most: Spent) -> Reservation:
    """Within a transaction. The row of the scope's sum is held until it ends: others of the scope wait for it."""
    spent = _spent(run, scope)
    amounts = (most.calls, most.tokens, most.cost)
    taken = run(
        "INSERT INTO reserved VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1",
        (call_id, scope, owner, *amounts),
    )
    # After it: whoever sent this call before has kept the answer, and then let go of the reservation.
    if run("SELECT 1 FROM calls WHERE call_id = ?", (call_id,)):
        state = "answered"
    elif not taken and run("SELECT owner FROM reserved WHERE call_id = ?", (call_id,)) != [(owner,)]:
        state = "elsewhere"
    else:
        [others] = run(f"SELECT {_SUM} FROM reserved WHERE scope = ? AND call_id <> ?", (scope, call_id))  # noqa: S608
        under_way = Spent(calls=others[0], tokens=others[1], cost=others[2])
        reason = budget.over(spent, under_way, most)
        if not reason:
            return Reservation(state="reserved", spent=spent)
        run("DELETE FROM reserved WHERE call_id = ? RETURNING 1", (call_id,))
        return Reservation(state="full", reason=reason, alone=not under_way.calls, spent=spent)
    if taken:
        run("DELETE FROM reserved WHERE call_id = ? RETURNING 1", (call_id,))
    return Reservation(state=state, spent=spent)


def _spent(run: Run, scope: str) -> Spent:
    held = "SELECT calls, tokens, cost FROM spent WHERE scope = ? FOR UPDATE"
    if not (rows := run(held, (scope,))):
        # Nobody has reserved yet, so nobody adds to a sum meanwhile; of two that come first, one waits for the other.
        run(
            f"""INSERT INTO spent SELECT ?, {_SUM} FROM (
                    SELECT 1 AS calls, prompt_tokens + completion_tokens AS tokens, cost FROM calls WHERE scope = ?
                    UNION ALL SELECT calls, tokens, cost FROM charged WHERE scope = ?) AS kept
                ON CONFLICT DO NOTHING RETURNING 1""",  # noqa: S608
            (scope, scope, scope),
        )
        rows = run(held, (scope,))
    [(calls, tokens, cost)] = rows
    return Spent(calls=calls, tokens=tokens, cost=cost)

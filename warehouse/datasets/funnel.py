"""The funnel: questions drafted, accepted and rejected, by generator, check and reason."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.catalog import Warehouse

# A question that several checks reject counts once, under the first of them by name; one that some thresholds accepted
# and others rejected counts as accepted.
FUNNEL = """
WITH drafted AS (
    SELECT question_id, generator FROM lake.questions
    WHERE len($1::VARCHAR[]) = 0 OR list_contains($1::VARCHAR[], fingerprint)
), kept AS (
    SELECT DISTINCT question_id FROM lake.episodes
), failed AS (
    SELECT question_id, min({'check_name': check_name, 'reason': reason}) AS why
    FROM lake.verdicts ANTI JOIN kept USING (question_id)
    WHERE NOT passed AND check_name <> 'all' GROUP BY question_id
), outcomes AS (
    SELECT generator, 1 AS step, 'drafted' AS outcome, '' AS check_name, '' AS reason FROM drafted
    UNION ALL
    SELECT generator, 2, 'accepted', '', '' FROM drafted SEMI JOIN kept USING (question_id)
    UNION ALL
    SELECT generator, 3, 'rejected', why.check_name, why.reason FROM drafted JOIN failed USING (question_id)
)
SELECT generator, outcome, check_name, reason, count(*) AS questions
FROM outcomes GROUP BY generator, step, outcome, check_name, reason
ORDER BY generator, step, questions DESC, check_name, reason
"""


def funnel(warehouse: Warehouse, fingerprints: Sequence[str] = ()) -> pl.DataFrame:
    """Columns generator, outcome (drafted, accepted, rejected), check_name, reason, questions."""
    return warehouse.query(FUNNEL, (list(fingerprints),))


def assert_balanced(warehouse: Warehouse, fingerprints: Sequence[str] = ()) -> None:
    """Check that every drafted question was either accepted or rejected.

    Raises:
        EvoError: a generator's numbers do not add up.
    """
    totals: dict[str, dict[str, int]] = {}
    for row in funnel(warehouse, fingerprints).iter_rows(named=True):
        counts = totals.setdefault(row["generator"], {"drafted": 0, "accepted": 0, "rejected": 0})
        counts[row["outcome"]] += row["questions"]
    for generator, n in totals.items():
        if n["drafted"] != n["accepted"] + n["rejected"]:
            raise EvoError(
                f"funnel of '{generator}' does not balance: {n['drafted']} drafted, {n['accepted']} accepted and "
                f"{n['rejected']} rejected; a dataset made from it could not be trusted; "
                "look for questions without verdicts and synthesize into a new state folder"
            )

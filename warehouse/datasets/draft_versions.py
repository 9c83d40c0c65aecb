"""Draft versions: what was found under the expectations of a version, and whether it may be trained on.

A version's state is read from these rows and kept nowhere beside them.
"""

from __future__ import annotations

from typing import NamedTuple

from evoembedding.schemas.dataset import Acceptance, DatasetVersion, ExpectationRow
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.expect import draft
from evoembedding.schemas.text import on_one_line
from evoembedding.warehouse.catalog import Warehouse

SHOWN = 3  # reasons in a sentence
_DRAFTS = """WITH last AS (SELECT dataset_id, max(sequence) AS sequence FROM lake.expectations GROUP BY dataset_id)
    SELECT DISTINCT dataset_id FROM lake.expectations SEMI JOIN last USING (dataset_id, sequence)
    ANTI JOIN lake.acceptances USING (dataset_id, sequence) WHERE severity = 'error' AND NOT passed"""


class Judged(NamedTuple):
    """The last judgement of a version; `accepted` where it may be trained on whatever was found."""

    rows: tuple[ExpectationRow, ...]
    accepted: Acceptance | None

    @property
    def sequence(self) -> int:
        """1, 2, ... : the how-manieth judgement of the version it is."""
        return self.rows[0].sequence

    @property
    def draft(self) -> bool:
        """Whether nothing is to be trained on the version."""
        return draft(self.rows) and self.accepted is None

    @property
    def state(self) -> str:
        """`passed`, `draft`, or `accepted` anyway."""
        return "draft" if self.draft else "accepted" if draft(self.rows) else "passed"

    @property
    def failed(self) -> list[str]:
        """What each expectation found that was to hold and does not."""
        failed = (row for row in self.rows if row.severity == "error" and row.passed is False)
        return [
            f"{row.measure}{f' of {on_one_line(row.part, 60)}' if row.part else ''}: {row.reason}" for row in failed
        ]

    @property
    def says(self) -> list[dict[str, object]]:
        """What was found, whenever and for whomever it was."""
        return [row.model_dump(exclude={"sequence", "decided_by", "created_at"}) for row in self.rows]


def draft_versions(warehouse: Warehouse) -> set[str]:
    """The ids of the versions that are drafts; none as of a time before there were expectations."""
    return {row["dataset_id"] for row in warehouse.query_known(_DRAFTS)}


def judged_of(warehouse: Warehouse, dataset_id: str) -> Judged | None:
    """The last judgement of a version; None where nothing was expected of it."""
    rows = warehouse.query_known(
        """SELECT * FROM lake.expectations WHERE dataset_id = $1
           QUALIFY sequence = max(sequence) OVER () ORDER BY rule""",
        (dataset_id,),
    )
    if not rows:
        return None
    found = tuple(ExpectationRow(**row) for row in rows)
    accepted = warehouse.query(
        "SELECT * FROM lake.acceptances WHERE dataset_id = ? AND sequence = ?", (dataset_id, found[0].sequence)
    )
    return Judged(found, Acceptance(**accepted.row(0, named=True)) if len(accepted) else None)


def refuse_draft(warehouse: Warehouse, version: DatasetVersion, follows: str) -> None:
    """Let no draft be trained on. The sentence says what `follows`.

    Raises:
        EvoError: the version is one.
    """
    judged = judged_of(warehouse, version.dataset_id)
    if judged and judged.draft:
        raise EvoError(sentence(version, judged, follows))


def sentence(version: DatasetVersion, judged: Judged, follows: str) -> str:
    """That a version is a draft, why, what follows, and the way out."""
    more = f"; and {len(judged.failed) - SHOWN} more" if len(judged.failed) > SHOWN else ""
    return (
        f"dataset {version.label} is a draft, since it is not what its recipe expects "
        f"({'; '.join(judged.failed[:SHOWN])}{more}); {follows}; take another version, mend what it is made of and "
        f"publish again, or publish it with --accept-anyway WHY ('evo dataset show {version.label}' has all of it)"
    )

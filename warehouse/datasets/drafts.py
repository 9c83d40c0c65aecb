"""What offline generators have drafted and what of it is verified, by the fingerprints of both stages.

The rows of contexts and questions are those of their content: whichever settings made them first, they are there once.
Evidence and verdicts are there once a fingerprint, so that these tell what a stage has done.
"""

from __future__ import annotations

from collections.abc import Sequence

from evoembedding.schemas.episode import Context, Draft, Evidence, Question
from evoembedding.warehouse.catalog import Warehouse

_DRAFTED = """SELECT DISTINCT context_id FROM lake.questions
    SEMI JOIN (SELECT question_id FROM lake.evidence WHERE fingerprint = ?) USING (question_id)"""


def drafted_seeds(warehouse: Warehouse, fingerprint: str) -> set[int]:
    """The seeds whose contexts have been drafted."""
    rows = warehouse.query(f"SELECT seed FROM lake.contexts SEMI JOIN ({_DRAFTED}) USING (context_id)", (fingerprint,))  # noqa: S608
    return set(rows["seed"])


def drafted_documents(warehouse: Warehouse, fingerprint: str) -> set[str]:
    """The documents whose contexts have been drafted."""
    rows = warehouse.query(
        f"SELECT DISTINCT unnest(document_ids) AS id FROM lake.contexts SEMI JOIN ({_DRAFTED}) USING (context_id)",  # noqa: S608
        (fingerprint,),
    )
    return set(rows["id"])


def failed_documents(warehouse: Warehouse, stage: str, fingerprint: str) -> set[str]:
    """The documents that gave no draft."""
    rows = warehouse.query("SELECT item FROM lake.failures WHERE stage = ? AND fingerprint = ?", (stage, fingerprint))
    return set(rows["item"])


def unverified(warehouse: Warehouse, drafts: str, verify: str) -> list[str]:
    """The drafted contexts with a question that has no verdict of this verification, by id."""
    return warehouse.query(
        """SELECT DISTINCT context_id FROM lake.questions SEMI JOIN (
               SELECT question_id FROM lake.evidence WHERE fingerprint = ?
               EXCEPT SELECT question_id FROM lake.verdicts WHERE fingerprint = ?) USING (question_id)
           ORDER BY context_id""",
        (drafts, verify),
    )["context_id"].to_list()


def read_drafts(warehouse: Warehouse, fingerprint: str, context_ids: Sequence[str]) -> list[Draft]:
    """The drafts of these contexts as the generator of this fingerprint handed them over."""
    bound = {"mark": fingerprint, "ids": list(context_ids)}
    among = "SELECT unnest($ids::VARCHAR[]) AS context_id"
    # Under the fingerprint that is asked for: a row carries that of the settings which made it first.
    contexts = warehouse.query(
        f"""SELECT * REPLACE ($mark AS fingerprint) FROM lake.contexts SEMI JOIN ({among}) USING (context_id)
            ORDER BY context_id""",  # noqa: S608
        bound,
    )
    asked = warehouse.query(
        f"""SELECT * REPLACE ($mark AS fingerprint) FROM lake.questions SEMI JOIN ({among}) USING (context_id)
            SEMI JOIN (SELECT question_id FROM lake.evidence WHERE fingerprint = $mark) USING (question_id)
            ORDER BY question_id""",  # noqa: S608
        bound,
    )
    found = warehouse.query(
        "SELECT * FROM lake.evidence WHERE fingerprint = $mark AND list_contains($ids::VARCHAR[], question_id)",
        {"mark": fingerprint, "ids": asked["question_id"].to_list()},
    )
    evidence = {row["question_id"]: Evidence(**_whole(row)) for row in found.iter_rows(named=True)}
    questions: dict[str, list[Question]] = {}
    for row in asked.iter_rows(named=True):
        questions.setdefault(row["context_id"], []).append(Question(**_whole(row)))
    drafts = []
    for row in contexts.iter_rows(named=True):
        own = tuple(questions.get(row["context_id"], ()))
        drafts.append(
            Draft(context=Context(**_whole(row)), questions=own, evidence=tuple(evidence[q.question_id] for q in own))
        )
    return drafts


def _whole(row: dict[str, object]) -> dict[str, object]:
    """A row less the lists that it had no column for when it was written."""
    return {name: value for name, value in row.items() if value is not None}

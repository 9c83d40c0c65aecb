"""What teachers left without an answer: counted for the exit code, with the reason that comes most often.

The warehouse and a recipe come in; a sentence goes out, empty where nothing is left.
"""

from __future__ import annotations

from collections.abc import Collection

from evoembedding.flows.teaching.teach import pending_items
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.text import shown
from evoembedding.synth.fingerprints import chains
from evoembedding.warehouse.catalog import Warehouse

REASON = 300  # characters


def unanswered(warehouse: Warehouse, recipe: Recipe) -> str:
    """A sentence; nothing where all that the recipe asks of teachers was answered."""
    if recipe.teaching is None:
        return ""
    items = [todo.item.name for todo in pending_items(warehouse, recipe, retry=True)]
    if not items:
        return ""
    marks = [chain.verify.fingerprint for chain in chains(recipe.teaching).values()]
    reasons = warehouse.query(
        """SELECT reason FROM failures
           WHERE retryable AND list_contains(?::VARCHAR[], item) AND list_contains(?::VARCHAR[], fingerprint)
           GROUP BY reason ORDER BY count(*) DESC, reason LIMIT 1""",
        (items, marks),
    )
    why = f" (most often: {shown(reasons['reason'][0], REASON)})" if len(reasons) else ""
    return (
        f"{len(items)} items left something unanswered{why}; what was answered is kept, and the rest is in the table "
        "'failures'; 'evo retry' asks again"
    )


def nothing_made(warehouse: Warehouse, recipe: Recipe, items: Collection[str]) -> bool:
    """Whether teachers gave no question at all on any of these items, though some were to be asked."""
    assert recipe.teaching is not None
    marks = [chain.verify.fingerprint for chain in chains(recipe.teaching).values()]
    found = warehouse.query(
        """SELECT sum(drafted) AS drafted FROM outcomes
           WHERE list_contains(?::VARCHAR[], item) AND list_contains(?::VARCHAR[], fingerprint)""",
        (list(items), marks),
    )
    return not found["drafted"][0]

"""EvoEmbedding: from real documents to traced, evolvable embedding models.

What is documented is imported from here, and found when it is asked for: what needs torch waits for it, and Prefect is
read by flows alone. The rooms are `evoembedding.schemas`, `evoembedding.warehouse` and so on; in a checkout their
folders lie at its top, and in this one as links.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evoembedding.flows.recipes import recipe
    from evoembedding.schemas.episode import Segment
    from evoembedding.schemas.errors import EvoError
    from evoembedding.trainer.embedder import EvoEmbedder
    from evoembedding.trainer.session import Session
    from evoembedding.warehouse.catalog import Warehouse

__all__ = ["EvoEmbedder", "EvoError", "Segment", "Session", "Warehouse", "recipe"]

_WHERE = {
    "EvoEmbedder": "trainer.embedder",
    "EvoError": "schemas.errors",
    "Segment": "schemas.episode",
    "Session": "trainer.session",
    "Warehouse": "warehouse.catalog",
    "recipe": "flows.recipes",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

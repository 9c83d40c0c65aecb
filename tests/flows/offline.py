"""A recipe without teachers that is made in a moment, the documents that it reads, and its flow without a server."""

from __future__ import annotations

import pytest

import evoembedding.flows.synthesize as tasks
from evoembedding.flows.recipes import recipe
from evoembedding.schemas.configs import ClozeConfig, Recipe, SimulatorConfig

TEXTS = (
    "The Harbour of Quillon was dredged in 1742. Its keeper, Ferdinand Osk, kept lamps and a parrot there.",
    "In spring the ferry to Wexholm ran twice a day. In winter it ran when the ice let it, says Tolland.",
    "Nobody knew why the customs house was painted green. Mira said that blue had cost eleven crowns more.",
)


def small_recipe() -> Recipe:
    """Four dialogues, two of them held out, and cloze questions, of which none is."""
    simulated = SimulatorConfig(contexts=4, min_segments=8, max_segments=9)
    asked = ClozeConfig(window_words=12, overlap_words=2)
    small = recipe("smallest").replace(name="d", simulator=simulated, heldout_contexts=2, cloze=asked)
    return small.replace(curation=small.curation.replace(held_out=0))


def without_prefect(patched: pytest.MonkeyPatch) -> None:
    """The tasks as the functions that they are: a server would prove no more."""
    for name in ("draft_partition", "verify_partition"):
        patched.setattr(tasks, name, getattr(tasks, name).fn)
    patched.setattr(tasks, "create_markdown_artifact", lambda **artifact: None)

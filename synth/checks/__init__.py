"""The checks that a question must pass to become an episode, a file each.

    draft of an offline generator ──reads──────────────────────▶ a reason, or ''
    question of a teacher ─────────reads, measures──▶ score ──judges──▶ a reason, or ''

Questions are put to them in this order; of one that fails several, the first one's name is the last word.

Six verdicts are given elsewhere, since they look beyond one question: `duplicate` (synth/verification.py,
synth/items.py), `near_duplicate`, `contaminated`, `leaked` and `held_out` (flows/curate.py), and `all`, the last word.
"""

from __future__ import annotations

from importlib import import_module

from evoembedding.synth.checks.check import Check

_FILES = (
    "structure",
    "evidence_in_range",
    "lengths",
    "context_dependent",
    "agreement",
    "grounded",
    "evidence_only",
    "closed_book",
    "evidence_removed",
)
CHECKS: dict[str, Check] = {name: import_module(f"{__name__}.{name}").check for name in _FILES}

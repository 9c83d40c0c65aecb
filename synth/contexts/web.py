"""Web contexts: a run of overlapping, sentence-aware windows over a document. No teacher is asked."""

from __future__ import annotations

import random

from evoembedding.schemas.configs import TeachingConfig
from evoembedding.schemas.episode import Context, Document, Segment
from evoembedding.synth.contexts.lengths import cut, draw_segments
from evoembedding.synth.contexts.row import context_row
from evoembedding.synth.text import joined, sentences, tokens, unspaced, windows

VERSION = "web-2"
CHANCE = "web-1"  # what is drawn by; it stays, so that another version chooses the same where it can
GENERATOR = "window"


class NoContextError(Exception):
    """This item gives no context; the message says why."""


def web(document: Document, config: TeachingConfig, fingerprint: str) -> Context:
    """The document's context: its length drawn, its place in the document by chance, both by seed and document.

    Raises:
        NoContextError: the text is too short for two windows.
    """
    rng = random.Random(f"{CHANCE}/{config.seed}/{document.document_id}")
    size = config.web.window_tokens
    units = sentences(document.text, max(1, size // 2), _weight)
    runs = windows([tokens(joined(unit)) for unit in units], size, config.web.overlap_tokens)
    count = min(len(runs), draw_segments(rng, config.lengths))
    if count < 2:
        raise NoContextError(f"the document's text is too short for two windows of about {size} tokens")
    start = rng.randint(0, len(runs) - count)
    windowed = [joined([word for i in run for word in units[i]]) for run in runs[start : start + count]]
    segments = cut([Segment(user=text) for text in windowed], config.lengths)
    if len(segments) < 2:
        raise NoContextError(f"two windows of the document pass {config.lengths.max_tokens} tokens")
    return context_row(
        "web",
        GENERATOR,
        segments,
        fingerprint,
        seed=config.seed,
        document_ids=(document.document_id,),
        origin={"document_id": document.document_id},
    )


def _weight(word: str) -> float:
    """A word by half its tokens where each of its characters is one: a unit is to fit into a window."""
    return tokens(word) / 2 if unspaced(word) else 1

"""What evaluation runs on: conversations with queries, and the encoder that scores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.episode import Record, Segment

MEMORY_OFF = ", memory off"  # ends the name of an encoder whose memory is switched off


class Query(Record):
    """A question with the indices of its gold segments."""

    text: str
    gold: tuple[int, ...]
    question_type: str


class Conversation(Record):
    """Segments in order, and queries put after the last of them."""

    conversation_id: str
    segments: tuple[Segment, ...]
    queries: tuple[Query, ...]


class Encoder(Protocol):
    """Anything that scores segments for queries: BM25, a static model, or a model with memory."""

    name: str

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """Scores [queries, segments], higher is better; the queries come after the last segment."""
        ...

"""What evaluation runs on: conversations with queries, and the encoder that scores them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from evoembedding.schemas.episode import Record, Segment
from evoembedding.schemas.ids import digest

if TYPE_CHECKING:  # the command's help reads this file, and can do without numpy
    import numpy as np
    from numpy.typing import NDArray

OWN = "own"  # the name of the benchmark of what dataset versions hold out of documents
MODEL = "EvoEmbedding"  # the name of a trained model as an encoder
MEMORY_OFF = ", memory off"  # ends the name of an encoder whose memory is switched off


class Query(Record):
    """A question with the indices of its gold segments."""

    text: str
    gold: tuple[int, ...]
    question_type: str


class Conversation(Record):
    """Segments in order, and queries put after the last of them.

    `slices` are further parts of the benchmark that it belongs to, such as `licence:MIT`.
    """

    conversation_id: str
    segments: tuple[Segment, ...]
    queries: tuple[Query, ...]
    slices: tuple[str, ...] = ()


class BenchmarkData(Record):
    """Conversations under a name, and how many of the benchmark's questions cannot be asked."""

    name: str
    conversations: tuple[Conversation, ...]
    left_out: int = 0

    @property
    def questions(self) -> int:
        """How many questions are asked."""
        return sum(len(conversation.queries) for conversation in self.conversations)

    @cached_property
    def digest(self) -> str:
        """Of all that is read and asked: scores on other content are other scores, whatever the file's name."""
        return digest([conversation.model_dump(exclude={"slices"}) for conversation in self.conversations])


class Encoder(Protocol):
    """Anything that scores segments for queries: BM25, a static model, or a model with memory."""

    name: str

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """Scores [queries, segments], higher is better; the queries come after the last segment."""
        ...

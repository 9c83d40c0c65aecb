"""A row of a training shard, and the tokenizer that fills it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from evoembedding.schemas.episode import Record, Segment


class ShardQuestion(Record):
    """An episode's question, tokenised: for the retriever, and for the answer pass.

    The answer pass reads `answer_before`, then the memory, then `answer_after`, then predicts `answer_tokens`.
    """

    episode_id: str
    query_tokens: tuple[int, ...]
    answer_before: tuple[int, ...]
    answer_after: tuple[int, ...]
    answer_tokens: tuple[int, ...]
    evidence: tuple[int, ...]


class ShardRow(Record):
    """A context with all its episodes: the context is read once for all its questions."""

    context_id: str
    segments: int  # T
    tokens: int  # tokens of all memory_tokens, the length that shards are sorted by after `segments`
    memory_tokens: tuple[tuple[int, ...], ...]  # [T][S], chat-template form
    retriever_tokens: tuple[tuple[int, ...], ...]  # [T][S], `User: ...\nAssistant: ...` + EOS
    questions: tuple[ShardQuestion, ...]


class EpisodeTokenizer(Protocol):
    """Turns segments and questions into token ids."""

    @property
    def digest(self) -> str:
        """Identifies vocabulary and templates."""
        ...

    def memory(self, segments: Sequence[Segment]) -> list[list[int]]:
        """Chat-template tokens of each segment."""
        ...

    def retriever(self, segments: Sequence[Segment]) -> list[list[int]]:
        """`User: ...\\nAssistant: ...` + EOS tokens of each segment."""
        ...

    def queries(self, texts: Sequence[str]) -> list[list[int]]:
        """Instruction prefix + query + EOS tokens of each query."""
        ...

    def answers(self, questions: Sequence[str], answers: Sequence[str]) -> list[tuple[list[int], list[int], list[int]]]:
        """Of each: tokens before the memory, after it up to the answer, and of the answer with its end."""
        ...

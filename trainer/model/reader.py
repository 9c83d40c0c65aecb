"""A model with its tokenizer, without state: checked text in, memory queues and embeddings out."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from evoembedding.schemas.episode import Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.identity import identity
from evoembedding.schemas.ids import digest
from evoembedding.trainer.backbones.decoder import Keys
from evoembedding.trainer.identity import versioned
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model.memory_queue import MemoryQueue
from evoembedding.trainer.model.packing import Pieces
from evoembedding.trainer.model.segment_batching import segment_batches
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer

SEGMENTS_A_READ = 256  # tokenised and embedded at a time: bounds what reading any number of segments holds in memory


class Tokens(NamedTuple):
    """A segment as the memory pass and as the retriever reads it."""

    memory: list[int]
    retriever: list[int]


@dataclass(frozen=True)
class Memory:
    """What stays of a conversation once it is read: the newest latents [1, N, D], as many as what follows needs."""

    segments: int
    latents: Tensor


class Reader:
    """What sessions share. Holds no conversation, so any number of threads may use it."""

    def __init__(self, model: EvoModel, tokenizer: EvoTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        config = model.config
        self.memory = config.model.memory
        self.latents, self.embedding = model.latents, config.model.embedding
        self.capacity = model.capacity if self.memory else 0

    @cached_property
    def digest(self) -> str:
        """Identifies all that a memory depends on: trained weights, model, segment batching, tokenizer and code."""
        weights = hashlib.blake2b(digest_size=32)
        for name, parameter in self.model.trained.items():
            weights.update(name.encode())
            # As bytes: NumPy has no bfloat16.
            weights.update(parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        config = self.model.config
        return digest(
            {
                "weights": weights.hexdigest(),
                "model": identity(config.model),
                "batches": [config.batch_segments, config.batch_tokens],
                "tokenizer": self.tokenizer.digest,
                **versioned(),
            }
        )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.queries.device

    def start(self) -> Memory:
        """The memory of someone who has read nothing."""
        return Memory(0, self.model.queries.new_zeros(1, 0, self.model.backbone.hidden_size))

    def blocks(self, segments: Iterable[Segment], what: str = "segment") -> Iterator[list[Tokens]]:
        """Segments tokenised, in runs of whole segment batches: runs after each other are cut as all of them are.

        Args:
            what: what an error calls one of them.

        Raises:
            EvoError: something is no segment, is no valid text, or is too long.
        """
        source = iter(require_several(segments, f"{what}s"))
        held: list[Tokens] = []
        count = 0
        while some := list(islice(source, SEGMENTS_A_READ)):
            held += self._tokenised(some, count, what)
            count += len(some)
            complete = self._cuts(held)[-1][0]  # what comes next may still belong to the last batch
            if complete:
                yield held[:complete]
                held = held[complete:]
        if held:
            yield held

    @torch.no_grad()
    def read(
        self, memories: Sequence[Memory], blocks: Sequence[list[Tokens]]
    ) -> list[tuple[Memory, NDArray[np.float32]]]:
        """Read the next block of each of B conversations; its memory after it, and the embeddings [n, E].

        Each conversation is cut into its own segment batches, as if it were read alone.
        """
        histories = [memory.latents for memory in memories]
        for batches in self._rounds(blocks):
            for members in self._alike(batches, histories):
                pieces = self._pieces([[tokens.memory for tokens in batches[b]] for b in members])
                queue = torch.cat([histories[b][:, -self.capacity :] for b in members])
                new = self.model.read(pieces, MemoryQueue(queue, self.capacity))
                for row, b in enumerate(members):
                    # Without the latents of padding: others of the group may have had more segments.
                    own = new[row : row + 1, : len(batches[b]) * self.latents]
                    histories[b] = torch.cat([histories[b], own], dim=1)
        vectors = self._embedded(memories, histories, blocks)
        return [
            (self._kept(memory.segments + len(block), history), embedded)
            for memory, block, history, embedded in zip(memories, blocks, histories, vectors, strict=True)
        ]

    @torch.no_grad()
    def keys(self, memory: Memory) -> Keys:
        """What queries are put to: the same for all queries with a memory, and most of what the first one costs."""
        return self.model.keys(memory.latents[:, -self.capacity :] if self.memory else memory.latents)

    @torch.no_grad()
    def queries(self, memory: Memory, keys: Keys, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings [G, E] of queries with a memory and its keys.

        Raises:
            EvoError: something is no valid text, or is too long.
        """
        tokens = self.query_tokens(texts, self.capacity)
        if not tokens:
            return self.nothing()
        totals = torch.tensor([memory.latents.shape[1] // self.latents if self.memory else 0])
        return array(self.model.embed_queries(memory.latents, totals, self._pieces([tokens]), keys)[0])

    @torch.no_grad()
    def alone(self, tokens: Sequence[list[int]]) -> Tensor:
        """Embeddings [n, E] of texts without memory, each in a row of its own; padded, so best of like lengths."""
        pieces = self._pieces([[ids] for ids in tokens])
        empty = self.model.queries.new_zeros(len(tokens), 0, self.model.backbone.hidden_size)
        return self.model.embed_segments(empty, pieces)[:, 0]

    def query_tokens(self, texts: Sequence[str | Segment], memory: int) -> list[list[int]]:
        """Tokens of queries that are to be embedded behind so many latents."""
        asked: list[str] = list(require_several(texts, "queries"))
        for index, text in enumerate(asked):
            _valid(text, f"query {index}")
        tokens = self.tokenizer.queries(asked)
        for index, ids in enumerate(tokens):
            self._fits(len(ids), memory, f"query {index}")
        return tokens

    def text_tokens(self, texts: Sequence[Segment | str]) -> list[list[int]]:
        """Retriever tokens of segments, or of texts as segments without a reply, to be embedded without memory."""
        # Not validated: what is no text is told of below, in one sentence.
        made = [Segment.model_construct(user=t) if isinstance(t, str) else t for t in require_several(texts, "texts")]
        for index, segment in enumerate(made):
            _checked(segment, f"text {index}")
        tokens = self.tokenizer.retriever(made)
        for index, ids in enumerate(tokens):
            self._fits(len(ids), 0, f"text {index}")
        return tokens

    def nothing(self) -> NDArray[np.float32]:
        """No embeddings, [0, E]."""
        return np.zeros((0, self.embedding), dtype=np.float32)

    def _tokenised(self, segments: Sequence[Segment], first: int, what: str) -> list[Tokens]:
        for index, segment in enumerate(segments, first):
            _checked(segment, f"{what} {index}")
        embedded = self.tokenizer.retriever(segments)
        read = self.tokenizer.memory(segments) if self.memory else [list[int]()] * len(embedded)
        made = [Tokens(*pair) for pair in zip(read, embedded, strict=True)]
        beside = self.capacity + self.latents if self.memory else 0  # a full queue, and the latents of its own
        for index, tokens in enumerate(made, first):
            self._fits(max(map(len, tokens)), beside, f"{what} {index}")
        return made

    def _fits(self, tokens: int, memory: int, what: str) -> None:
        positions = self.model.backbone.positions
        if positions is not None and tokens + memory > positions:
            beside = f" beside {memory:,} latents of memory" if memory else ""
            raise EvoError(
                f"{what} has {tokens:,} tokens, and the backbone has positions for {positions - memory:,}{beside}; "
                "what it says of those beyond is undefined, so it was not read; cut the text into shorter ones"
            )

    def _cuts(self, block: list[Tokens]) -> list[tuple[int, int]]:
        config = self.model.config
        return segment_batches([[len(t.memory) for t in block]], config.batch_segments, config.batch_tokens)

    def _rounds(self, blocks: Sequence[list[Tokens]]) -> Iterator[dict[int, list[Tokens]]]:
        """First the first segment batch of each conversation, by its number, then the second, ..."""
        if not self.memory:
            return
        batches = [[block[start:stop] for start, stop in self._cuts(block)] for block in blocks]
        for n in range(max(map(len, batches), default=0)):
            yield {b: own[n] for b, own in enumerate(batches) if n < len(own)}

    def _alike(self, batches: dict[int, list[Tokens]], histories: list[Tensor]) -> list[list[int]]:
        """Conversations whose batches one pass can read: equally full queues, and no pass cuts them in two.

        A batch within the limit of tokens is never cut. One beyond it is a single long segment, which would cut those
        beside it.
        """
        groups: dict[tuple[int, bool], list[int]] = defaultdict(list)
        for b, batch in batches.items():
            long = sum(len(tokens.memory) for tokens in batch) > self.model.config.batch_tokens
            groups[min(histories[b].shape[1], self.capacity), long].append(b)
        return list(groups.values())

    def _embedded(
        self, memories: Sequence[Memory], histories: list[Tensor], blocks: Sequence[list[Tokens]]
    ) -> list[NDArray[np.float32]]:
        """Embeddings of each conversation's block; those that had read as many segments go together."""
        vectors = [self.nothing()] * len(blocks)
        groups: dict[int, list[int]] = defaultdict(list)
        for b, memory in enumerate(memories):
            groups[memory.segments].append(b)
        for first, members in groups.items():
            history = pad_sequence([histories[b][0] for b in members], batch_first=True)
            pieces = self._pieces([[tokens.retriever for tokens in blocks[b]] for b in members])
            made = array(self.model.embed_segments(history, pieces, first))
            for row, b in enumerate(members):
                vectors[b] = made[row, : len(blocks[b])]
        return vectors

    def _kept(self, segments: int, history: Tensor) -> Memory:
        kept = self.model.kept(segments)
        # Cloned: what is kept would be a window of a tensor that holds the whole block.
        return Memory(segments, history[:, history.shape[1] - kept :].clone())

    def _pieces(self, rows: list[list[list[int]]]) -> Pieces:
        return Pieces.of(rows).to(self.device)


def array(vectors: Tensor) -> NDArray[np.float32]:
    """A tensor's values as float32."""
    made: NDArray[np.float32] = vectors.float().cpu().numpy()
    return made


def require_several(given: Iterable[Any], what: str) -> Iterable[Any]:
    """Not one text or segment in place of several: both can be iterated, with nonsense as the result."""
    if isinstance(given, str | Segment) or not isinstance(given, Iterable):
        raise EvoError(f"{what} is one {type(given).__name__}, not several; nothing was read; put it into a list")
    return given


def _checked(segment: object, what: str) -> None:
    if not isinstance(segment, Segment):
        raise EvoError(
            f"{what} is a {type(segment).__name__}, not a Segment; it was not read; "
            "write Segment(user='...', assistant='...')"
        )
    _valid(segment.user, what)
    _valid(segment.assistant, what)


def _valid(text: object, what: str) -> None:
    if not isinstance(text, str):
        raise EvoError(f"{what} is a {type(text).__name__}, not a text; it was not read; give a str")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EvoError(
            f"{what} has a lone surrogate, U+{ord(text[error.start]):04X} at character {error.start}, which is no text "
            "and has no tokens; it was not read; decode its source with errors='replace'"
        ) from error

"""What users load: embeddings that evolve with what has been read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.benchmark import MEMORY_OFF
from schemas.episode import Segment
from trainer.checkpoint import load_model
from trainer.memory_queue import MemoryQueue
from trainer.model import EvoModel
from trainer.packing import Pieces
from trainer.text import EvoTokenizer

NAME = "EvoEmbedding"
SEGMENTS_A_READ = 256  # bounds what one append holds in memory; a multiple of every sensible segment batch


class EvoEmbedder:
    """A trained model. Implements `schemas.benchmark.Encoder`."""

    def __init__(self, model: EvoModel, tokenizer: EvoTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        memory = model.config.model.memory
        self.name = NAME if memory else NAME + MEMORY_OFF

    @classmethod
    def load(cls, folder: Path | str, memory: bool = True) -> EvoEmbedder:
        """Read a model folder; `memory=False` gives the same weights without the memory, a static model.

        Raises:
            EvoError: the folder is damaged.
        """
        model, tokenizer = load_model(Path(folder))
        if not memory:
            off = model.config.model.model_copy(update={"memory": False})
            model.config = model.config.model_copy(update={"model": off})
        return cls(model, tokenizer)

    def session(self) -> Session:
        """An empty memory to append segments to."""
        return Session(self.model, self.tokenizer)

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """Cosine similarities [queries, segments]; the queries come after the last segment."""
        session = self.session()
        session.append(segments)
        return session.score(queries)

    def rerank(self, query: str, candidates: Sequence[Segment]) -> list[int]:
        """Indices of the candidates, best first. They are read in the given order, which should be that of time."""
        return [int(i) for i in np.argsort(-self.score(candidates, [query])[0], kind="stable")]


class Session:
    """One conversation being read. Appending advances the memory, asking does not.

    Segments of one `append` are read in segment batches, as in training: appending one at a time reads them alone.
    """

    def __init__(self, model: EvoModel, tokenizer: EvoTokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._history = model.queries.new_zeros(1, 0, model.backbone.hidden_size)
        self._segments = 0
        self._vectors: list[NDArray[np.float32]] = []

    @property
    def vectors(self) -> NDArray[np.float32]:
        """[T, E] embeddings of all segments so far."""
        return self._together(self._vectors)

    @torch.no_grad()
    def append(self, segments: Sequence[Segment]) -> NDArray[np.float32]:
        """Read segments; their embeddings [n, E], each with the memory as it stood before it."""
        made = [
            self._read(segments[start : start + SEGMENTS_A_READ]) for start in range(0, len(segments), SEGMENTS_A_READ)
        ]
        self._vectors += made
        return self._together(made)

    @torch.no_grad()
    def query(self, text: str) -> NDArray[np.float32]:
        """The query's embedding [E] with the memory as it stands."""
        embedded: NDArray[np.float32] = self._queries([text])[0]
        return embedded

    @torch.no_grad()
    def score(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Cosine similarities [queries, segments so far]."""
        return np.asarray(self._queries(queries) @ self.vectors.T, dtype=np.float32)

    @property
    def _queue(self) -> MemoryQueue:
        return MemoryQueue(self._history[:, -self._model.capacity :], self._model.capacity)

    def _together(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate([np.zeros((0, self._model.config.model.embedding), dtype=np.float32), *parts])

    def _read(self, segments: Sequence[Segment]) -> NDArray[np.float32]:
        model = self._model
        new = model.read(Pieces.of([self._tokenizer.memory(segments)]), self._queue)
        history = torch.cat([self._history, new], dim=1)
        vectors = model.embed_segments(history, Pieces.of([self._tokenizer.retriever(segments)]), self._segments)
        self._segments += len(segments)
        self._history = history[:, max(0, history.shape[1] - model.kept(self._segments)) :]
        return _array(vectors[0])

    def _queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return self._together([])
        latents = self._queue.latents
        totals = torch.tensor([len(self._queue) // self._model.config.model.latents])
        vectors = self._model.embed_queries(latents, totals, Pieces.of([self._tokenizer.queries(texts)]))
        return _array(vectors[0])


def _array(vectors: Tensor) -> NDArray[np.float32]:
    made: NDArray[np.float32] = vectors.float().cpu().numpy()
    return made

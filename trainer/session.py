"""One conversation being read: its memory and embeddings, and how they are saved."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from evoembedding.retrieval.ranking import rank
from evoembedding.schemas.episode import Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import whole
from evoembedding.trainer.backbones.decoder import Keys
from evoembedding.trainer.model.reader import Memory, Reader

FORMAT = "evoembedding session 1"


class Hit(NamedTuple):
    """A segment that was found: its zero-based number and its cosine similarity."""

    segment: int
    score: float


@dataclass(frozen=True)
class State:
    """What a session is after some segments. Replaced whole: no thread ever sees half of a change."""

    memory: Memory
    vectors: NDArray[np.float32] | None  # [T, E], read-only; None where they are not kept

    def __post_init__(self) -> None:
        if self.vectors is not None:
            self.vectors.setflags(write=False)

    def after(self, memory: Memory, made: Sequence[NDArray[np.float32]]) -> State:
        """The state once blocks of embeddings were made and the memory is this."""
        return State(memory, None if self.vectors is None else np.concatenate([self.vectors, *made]))


class Session:
    """One conversation. Appending advances the memory, asking does not.

    Segments of one `append` or `stream` are read in segment batches, as in training; a batch ends where they end, so
    appending one at a time reads them alone. Any number of threads may ask while others append: each question is put
    to the memory as it is before an append or after it.
    """

    def __init__(self, reader: Reader, keep_vectors: bool = True, state: State | None = None) -> None:
        self._reader = reader
        self._state = state or State(reader.start(), reader.nothing() if keep_vectors else None)
        self._asked: tuple[Memory, Keys] | None = None  # the memory that was asked last, and its keys
        self._appending = threading.Lock()

    @property
    def segments(self) -> int:
        """T, how many segments have been read."""
        return self._state.memory.segments

    @property
    def vectors(self) -> NDArray[np.float32]:
        """[T, E] embeddings of all segments so far; read-only.

        Raises:
            EvoError: the session does not keep them.
        """
        return _kept(self._state)

    def append(self, segments: Iterable[Segment]) -> NDArray[np.float32]:
        """Read segments; their embeddings [n, E], each with the memory as it stood before it.

        Raises:
            EvoError: something is no segment, is no valid text, or is too long; the session is as it was.
        """
        with self._appending:
            state, made = self._state, list[NDArray[np.float32]]()
            memory = state.memory
            for block in self._reader.blocks(segments):
                [(memory, vectors)] = self._reader.read([memory], [block])
                made.append(vectors)
            self._state = state.after(memory, made)
        return np.concatenate([self._reader.nothing(), *made])

    def stream(self, segments: Iterable[Segment]) -> Iterator[NDArray[np.float32]]:
        """Read segments as they come, about 256 at a time; their embeddings [n, E] block by block.

        The same as one `append` of them all, but that the memory advances with each block.

        Raises:
            EvoError: as `append`; blocks before it stay read.
        """
        for block in self._reader.blocks(segments):
            # Not held across the yield: a caller may never come for the next block.
            with self._appending:
                [(memory, vectors)] = self._reader.read([self._state.memory], [block])
                self._state = self._state.after(memory, [vectors])
            yield vectors

    def query(self, text: str | Sequence[str]) -> NDArray[np.float32]:
        """The embedding [E] of a query with the memory as it stands, or those [G, E] of several."""
        if isinstance(text, str):
            one: NDArray[np.float32] = self._embedded(self._state.memory, [text])[0]
            return one
        return self._embedded(self._state.memory, text)

    def score(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Cosine similarities [queries, segments so far].

        Raises:
            EvoError: the session does not keep its vectors, or a query is no valid text or too long.
        """
        state = self._state
        vectors = _kept(state)
        return np.asarray(self._embedded(state.memory, queries) @ vectors.T, dtype=np.float32)

    def top(self, query: str, k: int = 10) -> list[Hit]:
        """The k segments nearest to a query, best first; all of them where there are fewer."""
        return ranked(self.score([query])[0], k)

    def save(self, path: Path | str) -> None:
        """Write the session as one safetensors file, whole or not at all.

        Raises:
            EvoError: it cannot be written there.
        """
        # The state is taken once: an append meanwhile puts another in its place.
        path, state, reader = Path(path), self._state, self._reader
        tensors = {"latents": state.memory.latents[0].cpu().contiguous()}
        if state.vectors is not None:
            tensors["vectors"] = torch.from_numpy(state.vectors.copy())
        metadata = {"format": FORMAT, "model": reader.digest, "segments": str(state.memory.segments)}
        try:
            with whole(path) as partial:
                save_file(tensors, str(partial), metadata=metadata)
        except (OSError, SafetensorError) as error:
            raise EvoError(
                f"session file '{path}' cannot be written: {str(error).splitlines()[0]}; nothing was saved; "
                "the session goes on: save it elsewhere"
            ) from error

    @classmethod
    def restore(cls, reader: Reader, path: Path | str) -> Session:
        """The session of a file that `save` wrote.

        Raises:
            EvoError: there is no such file, it is damaged or no session, or another model's.
        """
        try:
            with safe_open(str(path), framework="pt", device=str(reader.device)) as file:
                metadata = file.metadata() or {}
                # Cloned: in the file they lie anywhere, and sums of what is not aligned may differ in the last bit.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  not a dict
            if metadata.get("format") != FORMAT:
                raise ValueError(f"it is no '{FORMAT}'")
            if metadata["model"] != reader.digest:
                raise _unusable(path, f"model {metadata['model'][:12]} wrote it, and this one is {reader.digest[:12]}")
            return cls(reader, state=_state(reader, tensors, int(metadata["segments"])))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise _unusable(path, str(error).splitlines()[0]) from error

    def _embedded(self, memory: Memory, queries: Sequence[str]) -> NDArray[np.float32]:
        asked = self._asked
        if asked is None or asked[0] is not memory:
            # Both in one assignment: no thread meets a memory with the keys of another.
            self._asked = asked = memory, self._reader.keys(memory)
        return self._reader.queries(memory, asked[1], queries)


def read_together(reader: Reader, conversations: Mapping[str, Sequence[Segment]], keep_vectors: bool) -> list[Session]:
    """A session of each conversation (by its name), as if read alone; all go through the model side by side."""
    sources = [reader.blocks(segments, f"{name}, segment") for name, segments in conversations.items()]
    states = [State(reader.start(), reader.nothing() if keep_vectors else None) for _ in sources]
    while going := {i: block for i, source in enumerate(sources) if (block := next(source, None))}:
        read = reader.read([states[i].memory for i in going], list(going.values()))
        for i, (memory, vectors) in zip(going, read, strict=True):
            states[i] = states[i].after(memory, [vectors])
    return [Session(reader, state=state) for state in states]


def ranked(scores: NDArray[np.float32], k: int | None = None) -> list[Hit]:
    """The k best of [T] scores, or all, best first; of equal ones the earlier."""
    return [Hit(i, float(scores[i])) for i in rank(scores, k)]


def _kept(state: State) -> NDArray[np.float32]:
    if state.vectors is None:
        raise EvoError(
            f"this session keeps no vectors, so its {state.memory.segments} segments cannot be scored; nothing was; "
            "compare session.query(text) with the vectors that append and stream gave, or open it with "
            "keep_vectors=True"
        )
    return state.vectors


def _state(reader: Reader, tensors: dict[str, torch.Tensor], segments: int) -> State:
    start, latents, vectors = reader.start().latents, tensors["latents"][None], tensors.get("vectors")
    if latents.shape != (1, reader.model.kept(segments), start.shape[2]) or latents.dtype != start.dtype:
        raise ValueError(f"its latents are {list(latents.shape[1:])} {latents.dtype} for {segments} segments")
    if vectors is not None and vectors.shape != (segments, reader.embedding):
        raise ValueError(f"its vectors are {list(vectors.shape)} for {segments} segments")
    return State(Memory(segments, latents), None if vectors is None else vectors.cpu().numpy())


def _unusable(path: Path | str, why: str) -> EvoError:
    return EvoError(
        f"session file '{path}' cannot be used: {why}; nothing was restored; restore it with the model that saved it, "
        "or read the segments again"
    )

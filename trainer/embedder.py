"""What users load: embeddings that evolve with what has been read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from evoembedding.schemas.benchmark import MEMORY_OFF, MODEL
from evoembedding.schemas.episode import Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model.reader import Reader, array, require_several
from evoembedding.trainer.model_folder import load_model
from evoembedding.trainer.registered import model_place
from evoembedding.trainer.session import Hit, Session, ranked, read_together
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer

NAME = MODEL
PROMPTS = (None, "document", "query")
Texts = str | Segment | Sequence[str | Segment]


class EvoEmbedder:
    """A trained model. Implements `schemas.benchmark.Encoder`; threads may share it and its sessions."""

    def __init__(self, model: EvoModel, tokenizer: EvoTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._reader = Reader(model, tokenizer)
        self.name = NAME if self._reader.memory else NAME + MEMORY_OFF

    @classmethod
    def load(cls, folder: Path | str, memory: bool = True, device: str | None = None) -> EvoEmbedder:
        """Read a model folder; `memory=False` gives the same weights without the memory, a static model.

        Args:
            folder: a model folder; or, where there is no such folder, a model of `$EVO_HOME` by the name or id that
                commands take: `support@champion`, `support@3`, `support`, `model-0a1b`.
            device: `cpu`, `cuda`, `cuda:1`, ...; None takes a GPU where there is one.

        Raises:
            EvoError: the folder is damaged, there is no such model, or no such device.
        """
        model, tokenizer = load_model(model_place(folder))
        if not memory:
            model.config = model.config.replace(model=model.config.model.replace(memory=False))
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            model.to(device)
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
            raise EvoError(
                f"no device '{device}' here: {str(error).splitlines()[0]}; nothing was embedded; give 'cpu', or None "
                "to take a GPU where there is one"
            ) from error
        return cls(model, tokenizer)

    def session(self, keep_vectors: bool = True) -> Session:
        """An empty memory to append segments to.

        Args:
            keep_vectors: False keeps memory flat however much is read; what was embedded is then the caller's alone.
        """
        return Session(self._reader, keep_vectors)

    def restore(self, path: Path | str) -> Session:
        """The session that `Session.save` wrote; it goes on bit for bit as if it had never stopped.

        Raises:
            EvoError: there is no such file, it is damaged or no session, or another model's.
        """
        return Session.restore(self._reader, path)

    def sessions(
        self, conversations: Sequence[Sequence[Segment]], batch_size: int = 8, keep_vectors: bool = True
    ) -> list[Session]:
        """A session of each conversation, as if appended to it alone; `batch_size` of like length at once.

        Raises:
            EvoError: something is no segment, is no valid text, or is too long; or `batch_size` is below 1.
        """
        listed = [
            list(require_several(c, f"conversation {i}"))
            for i, c in enumerate(require_several(conversations, "conversations"))
        ]
        made: dict[int, Session] = {}
        for some in _alike(list(map(len, listed)), batch_size):
            named = {f"conversation {i}": listed[i] for i in some}
            made.update(zip(some, read_together(self._reader, named, keep_vectors), strict=True))
        return [made[i] for i in range(len(listed))]

    def score(self, segments: Sequence[Segment], queries: Sequence[str]) -> NDArray[np.float32]:
        """Cosine similarities [queries, segments]; the queries come after the last segment."""
        session = self.session()
        session.append(segments)
        return session.score(queries)

    def rerank(self, query: str, candidates: Sequence[Segment], k: int | None = None) -> list[Hit]:
        """The candidates' indices with their scores, best first: the first k, or all.

        They are read in the given order, which should be that of time.
        """
        return ranked(self.score(candidates, [query])[0], k)

    @overload
    def encode(
        self,
        sentences: Texts,
        *,
        prompt_name: str | None = ...,
        batch_size: int = ...,
        show_progress_bar: bool = ...,
        convert_to_numpy: Literal[True] = ...,
        convert_to_tensor: Literal[False] = ...,
        normalize_embeddings: bool = ...,
    ) -> NDArray[np.float32]: ...

    @overload
    def encode(
        self,
        sentences: Texts,
        *,
        prompt_name: str | None = ...,
        batch_size: int = ...,
        show_progress_bar: bool = ...,
        convert_to_numpy: Literal[False],
        convert_to_tensor: bool = ...,
        normalize_embeddings: bool = ...,
    ) -> Tensor: ...

    @overload
    def encode(
        self,
        sentences: Texts,
        *,
        prompt_name: str | None = ...,
        batch_size: int = ...,
        show_progress_bar: bool = ...,
        convert_to_numpy: bool = ...,
        convert_to_tensor: Literal[True],
        normalize_embeddings: bool = ...,
    ) -> Tensor: ...

    def encode(
        self,
        sentences: Texts,
        *,
        prompt_name: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = True,
    ) -> NDArray[np.float32] | Tensor:
        """Embed each text alone, without memory: [E] of one, [n, E] of several. Called as Sentence-Transformers is.

        Args:
            sentences: texts or segments, or one of them; a text is a segment without a reply.
            prompt_name: `query` for questions; None or `document` for what is searched.
            batch_size: texts a forward; they are sorted by length inside, so that little of it is padding.
            convert_to_numpy: False gives a tensor on the model's device.
            convert_to_tensor: True gives one as well.
            normalize_embeddings: taken for such callers; embeddings have unit length either way, like those of a
                Sentence-Transformers model that ends in `Normalize`.

        Raises:
            EvoError: there is no such prompt, `batch_size` is below 1, or something is no valid text or too long.
        """
        as_array = convert_to_numpy and not convert_to_tensor
        if isinstance(sentences, str | Segment):
            return self._alone([sentences], prompt_name, batch_size, show_progress_bar, as_array)[0]
        return self._alone(sentences, prompt_name, batch_size, show_progress_bar, as_array)

    def _alone(
        self, texts: Sequence[str | Segment], prompt: str | None, batch_size: int, progress: bool, as_array: bool
    ) -> NDArray[np.float32] | Tensor:
        if prompt not in PROMPTS:
            raise EvoError(
                f"there is no prompt '{prompt}'; nothing was embedded; choose 'query', or 'document' as without one"
            )
        reader = self._reader
        tokens = reader.query_tokens(texts, 0) if prompt == "query" else reader.text_tokens(texts)
        # Filled by index: batches are of like length, and the texts' order is the caller's.
        made = reader.model.queries.new_zeros(len(tokens), reader.embedding)
        for some in track(_alike(list(map(len, tokens)), batch_size), "encode", disable=not progress):
            made[some] = reader.alone([tokens[i] for i in some])
        return array(made) if as_array else made


def _alike(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices in groups of `size` and of like length, the longest first: what needs most memory fails at once."""
    if size < 1:
        raise EvoError(f"batch_size is {size}; nothing was embedded; give 1 or more")
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    return [order[start : start + size] for start in range(0, len(order), size)]

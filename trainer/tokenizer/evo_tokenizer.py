"""Text forms of the model's passes, as token ids.

Memory and answer passes read the tokenizer's chat template; the retriever reads `User: ...\\nAssistant: ...` + EOS.
A message is text, whatever it says: `<|im_end|>` or `</think>` in it neither ends a turn nor hides anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from evoembedding.schemas.episode import Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.ids import digest
from evoembedding.trainer.backbones.names import readable, reason, source
from evoembedding.trainer.model_files import TEXT_BYTES, check_folder, read_object
from evoembedding.trainer.tokenizer.chat_template import chat_form

VERSION = 2  # raise when the tokens of the same text change
# arXiv 2606.21649, text forms
QUERY_PREFIX = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
TINY_PREFIX = "Query: "  # a backbone trained from scratch gains nothing from an instruction and pays for its tokens
TINY_WORDS = ["User:", "\nAssistant:"]  # in every segment's retriever form: two tokens instead of seven
TINY_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] == 'user' %}<|user|>{{ m['content'] }}{% else %}<|assistant|>{{ m['content'] }}<|end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# What ends a document, where a chat model's EOS ends a turn; the authors' code ends segments and queries with it.
END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>")
PAD, EOS = "<|pad|>", "<|eos|>"
TINY_SPECIALS = [PAD, EOS, "<|user|>", "<|assistant|>", "<|end|>"]


class EvoTokenizer:
    """Implements `schemas.shard.EpisodeTokenizer` for a fast Hugging Face tokenizer with a chat template.

    Raises:
        EvoError: the tokenizer has no EOS token, or its chat template cannot be cut into turns.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, query_prefix: str) -> None:
        found = map(tokenizer.backend_tokenizer.token_to_id, END_OF_TEXT)
        eos = next((i for i in found if i is not None), tokenizer.eos_token_id)
        if eos is None:
            raise EvoError(
                f"tokenizer '{tokenizer.name_or_path}' has no EOS token, which ends every segment; "
                "nothing was tokenised; choose another backbone"
            )
        if not isinstance(query_prefix, str):
            raise ValueError(f"its query_prefix is a {type(query_prefix).__name__}")
        self.tokenizer = tokenizer
        self.query_prefix = query_prefix
        self.eos: int = int(eos)
        self._form = form = chat_form(tokenizer)
        self._text = _text_only(tokenizer, form.control)
        self._open, self._reply, self._close = map(self._control, (form.opening, form.reply, form.closing))
        self._before_memory, self._last_reply = map(self._control, (form.start + form.opening, form.last_reply))

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return len(self.tokenizer)

    @cached_property
    def last(self) -> int:
        """The greatest token id: a damaged vocabulary may have gaps."""
        return max(self.tokenizer.get_vocab().values(), default=0)

    @cached_property
    def digest(self) -> str:
        """Identifies vocabulary, templates and this module's version."""
        return digest(
            {
                "tokenizer": self.tokenizer.backend_tokenizer.to_str(),
                "template": self.tokenizer.chat_template,
                "query_prefix": self.query_prefix,
                "version": VERSION,
            }
        )

    def memory(self, segments: Sequence[Segment]) -> list[list[int]]:
        """Chat-template tokens of each segment, as a turn among others: no BOS, no system prompt."""
        users = self._messages([s.user for s in segments], self._form.trims_user)
        assistants = self._messages([s.assistant for s in segments], self._form.trims_assistant)
        return [
            [*self._open, *user, *self._reply, *assistant, *self._close]
            for user, assistant in zip(users, assistants, strict=True)
        ]

    def retriever(self, segments: Sequence[Segment]) -> list[list[int]]:
        """`User: ...\\nAssistant: ...` + EOS tokens of each segment."""
        return [[*ids, self.eos] for ids in self._encode([s.text for s in segments])]

    def queries(self, texts: Sequence[str]) -> list[list[int]]:
        """Instruction prefix + query + EOS tokens of each query."""
        return [[*ids, self.eos] for ids in self._encode([self.query_prefix + text for text in texts])]

    def answers(self, questions: Sequence[str], answers: Sequence[str]) -> list[tuple[list[int], list[int], list[int]]]:
        """Of each: tokens before the memory, after it up to the answer, and of the answer with its end."""
        asked = self._messages(questions, self._form.trims_user)
        answered = self._messages(answers, self._form.trims_assistant)
        return [
            (list(self._before_memory), [*question, *self._last_reply], [*answer, *self._close])
            for question, answer in zip(asked, answered, strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write a Hugging Face tokenizer folder; `tokenizer.json` marks it complete."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.init_kwargs["query_prefix"] = self.query_prefix
        self.tokenizer.save_pretrained(folder)

    @classmethod
    def load(cls, folder: Path) -> EvoTokenizer:
        """Read a folder that `save` wrote.

        Raises:
            EvoError: it is missing or damaged.
        """
        try:
            check_folder(folder)
            read_object(folder / "tokenizer.json", TEXT_BYTES)
            # Not AutoTokenizer: it would look for a model class to go with a model folder's config.
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
            return cls(tokenizer, tokenizer.init_kwargs.get("query_prefix", QUERY_PREFIX))
        except EvoError:
            raise
        except Exception as error:  # tokenizers raises nothing more exact
            raise EvoError(
                f"tokenizer folder '{folder}' cannot be read: {reason(error)}; nothing was tokenised; "
                "remove it and rerun, or copy the model again"
            ) from error

    def _messages(self, texts: Sequence[str], trim: bool) -> list[list[int]]:
        return self._encode([text.strip() for text in texts] if trim else texts)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [e.ids for e in self._text.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _control(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids


def load_tokenizer(backbone: str) -> EvoTokenizer:
    """The tokenizer of a backbone by its name: one of `trainer.backbones.names`, a Hugging Face folder or an id.

    Raises:
        EvoError: there is none, or it has no chat template.
    """
    return EvoTokenizer(_from_pretrained(backbone), QUERY_PREFIX)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> EvoTokenizer:
    """A byte-level BPE of at most `vocabulary` tokens for the `tiny` backbone."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary - len(TINY_WORDS),  # which are added below
            special_tokens=TINY_SPECIALS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # every byte: any text has tokens
            show_progress=False,
        ),
    )
    made.add_tokens([AddedToken(word, normalized=False) for word in TINY_WORDS])
    fast: Any = PreTrainedTokenizerFast(tokenizer_object=made, pad_token=PAD, eos_token=EOS)  # type: ignore[no-untyped-call]
    fast.chat_template = TINY_TEMPLATE
    return EvoTokenizer(fast, TINY_PREFIX)


def _from_pretrained(name: str) -> PreTrainedTokenizerFast:
    place = source(name)
    with readable("tokenizer", name):
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise EvoError(f"backbone '{name}' has no fast tokenizer; nothing was tokenised; choose another backbone")
    return tokenizer


def _text_only(tokenizer: PreTrainedTokenizerFast, control: str) -> Tokenizer:
    """Encodes messages: what would be a control token in them is spelled out, also where it is not marked special."""
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in spec["added_tokens"]:
        token["special"] |= bool(token["content"].strip()) and token["content"] in control
    made = Tokenizer.from_str(json.dumps(spec))
    # A tokenizer's file may ask for both, and texts would be cut or filled up.
    made.no_truncation()
    made.no_padding()
    made.encode_special_tokens = True
    return made

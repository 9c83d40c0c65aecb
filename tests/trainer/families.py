"""Small random models of the families that the trainer takes, saved to folders as Hugging Face saves them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from evoembedding.schemas.episode import Draft
from evoembedding.synth.verification import verify
from evoembedding.warehouse.shards.tokenisation import tokenise
from tests.trainer.chat_templates import FORMS

WINDOW = 12  # of the sliding layers: shorter than most segments
# Weights of the usual size would leave two narrow layers almost without attention.
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 0,
}


def llama(vocabulary: int) -> Any:
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **SIZES))


def qwen3(vocabulary: int) -> Any:
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=vocabulary, tie_word_embeddings=True, **SIZES))


def qwen2(vocabulary: int) -> Any:
    """The second layer attends in a window, as `use_sliding_window` has it."""
    return Qwen2ForCausalLM(
        Qwen2Config(vocab_size=vocabulary, use_sliding_window=True, max_window_layers=1, sliding_window=WINDOW, **SIZES)
    )


def mistral(vocabulary: int) -> Any:
    """Every layer attends in a window, and the config names no kinds of layers. Answers still see the memory."""
    return MistralForCausalLM(MistralConfig(vocab_size=vocabulary, sliding_window=3 * WINDOW, **SIZES))


def gemma3_text(vocabulary: int) -> Any:
    return Gemma3ForCausalLM(_gemma3(vocabulary, final_logit_softcapping=5.0))


def gemma3(vocabulary: int) -> Any:
    """With an image encoder, as the larger ones are published."""
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 4,
    }
    text = _gemma3(vocabulary).to_dict()
    return Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4))


def _gemma3(vocabulary: int, **more: Any) -> Gemma3TextConfig:
    """Embeddings are scaled; the first layer attends in a window."""
    return Gemma3TextConfig(
        vocab_size=vocabulary,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention"],
        query_pre_attn_scalar=16,
        **{**SIZES, **more},
    )


FAMILIES: dict[str, tuple[Callable[[int], Any], str]] = {
    "llama": (llama, "smollm2"),
    "qwen3": (qwen3, "qwen3"),
    "qwen2": (qwen2, "qwen2"),
    "mistral": (mistral, "qwen2"),
    "gemma3_text": (gemma3_text, "gemma3"),
    "gemma3": (gemma3, "gemma3"),
}


def save_family(name: str, texts: Iterable[str], folder: Path) -> Path:
    """A model of the family and a tokenizer with the family's chat template, in a folder."""
    make, form = FAMILIES[name]
    tokenizer = make_tokenizer(form, texts)
    torch.manual_seed(1)
    model = make(len(tokenizer))
    with torch.no_grad():  # biases and norms start at 0 or 1, where an error in them would not show
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer(form: str, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 512 tokens with the chat template and control tokens of a real model."""
    template, special, added, bos, eos = FORMS[form]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=512, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
        ),
    )
    made.add_tokens([AddedToken(token, normalized=False) for token in added])
    fast: Any = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=bos, eos_token=eos, pad_token=special[0])
    fast.chat_template = template
    return fast


def shard_rows(drafts: Sequence[Draft], tokenizer: Any) -> list[dict[str, Any]]:
    """Shard rows of verified drafts, as the warehouse writes them."""
    seen: set[str] = set()
    contexts = [
        {
            "context_id": d.context.context_id,
            "segments": [s.model_dump() for s in d.context.segments],
            "asked": [
                {"episode_id": e.episode_id, "question": e.question, "answer": e.answer, "evidence": list(e.evidence)}
                for e in verify(d, seen).episodes
            ],
        }
        for d in drafts
    ]
    made = tokenise(pl.DataFrame(contexts), tokenizer).to_dicts()
    return sorted(made, key=lambda row: (row["segments"], row["tokens"]))

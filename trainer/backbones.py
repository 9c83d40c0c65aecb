"""The decoder under the model: `tiny` from random weights, or a Hugging Face decoder with two LoRA adapters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig, LlamaForCausalLM

from schemas.configs import ModelConfig
from schemas.errors import EvoError

Role = Literal["memory", "retriever", "plain"]
T = TypeVar("T")
Keys = Sequence[tuple[Tensor, Tensor]]  # of each layer: keys and values [B, heads, P, head size]
ADAPTERS = ("memory", "retriever")
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Backbone(nn.Module):
    """A decoder that plays three roles: memory evolution, retrieval, and the plain language model.

    A pretrained backbone is frozen and plays the first two through LoRA adapters. `tiny` has no pretrained weights to
    protect: it trains in full, and its roles differ by what they read (memory queries or EOS at the end).
    """

    def __init__(self, causal: Any, adapters: bool) -> None:
        super().__init__()
        self.causal = causal
        self.adapters = adapters
        self._lora = [p for n, p in causal.named_parameters() if "lora_" in n]
        self._turn = threading.Lock()  # which adapter is on is a state of the shared decoder
        self._train_adapters()

    @property
    def hidden_size(self) -> int:
        """D."""
        return int(self._plain.config.hidden_size)

    @property
    def vocabulary(self) -> int:
        """V, rows of the embedding table."""
        return int(self._plain.get_input_embeddings().num_embeddings)

    @property
    def positions(self) -> int | None:
        """Positions that the decoder is defined for; None where it sets no bound."""
        return getattr(self._plain.config, "max_position_embeddings", None)

    def embed(self, ids: Tensor) -> Tensor:
        """[B, S] token ids to [B, S, D]."""
        embedded: Tensor = self._plain.get_input_embeddings()(ids)
        return embedded

    def hidden(self, inputs: Tensor, positions: Tensor, mask: Tensor | None, role: Role, behind: Keys = ()) -> Tensor:
        """Last hidden states [B, S, D] of input embeddings [B, S, D].

        Calls the decoder without its head: vocabulary logits of every token would be computed and thrown away.

        Args:
            positions: [B, S] position ids.
            mask: [B, 1, S, P + S] True where a token attends; None is causal.
            role: which adapter is on; `plain` is neither.
            behind: keys of a prefix of P tokens that these stand behind.
        """
        return self._as(role, lambda: self._run(inputs, positions, mask, DynamicCache(behind) if behind else None))

    def keys(self, inputs: Tensor, positions: Tensor, mask: Tensor | None, role: Role) -> Keys:
        """Keys and values of a prefix [B, P, D], for others to stand behind."""
        cache = DynamicCache()  # no config: a sliding layer's cache would drop what our masks say is seen
        self._as(role, lambda: self._run(inputs, positions, mask, cache))
        return [(layer.keys, layer.values) for layer in cache.layers]  # type: ignore[union-attr, misc]

    def logits(self, hidden: Tensor) -> Tensor:
        """[A, D] hidden states to [A, V]."""
        scores: Tensor = self._plain.get_output_embeddings()(hidden)
        return scores

    @property
    def _plain(self) -> Any:
        return self.causal.get_base_model() if self.adapters else self.causal

    def _as(self, role: Role, run: Callable[[], T]) -> T:
        """Run the decoder in a role."""
        if not self.adapters:
            return run()
        with self._turn:
            if role == "plain":
                with self.causal.disable_adapter():
                    out = run()
            else:
                self.causal.set_adapter(role)
                out = run()
            self._train_adapters()
        return out

    def _run(self, inputs: Tensor, positions: Tensor, mask: Tensor | None, cache: DynamicCache | None) -> Tensor:
        out: Tensor = self._plain.get_decoder()(
            inputs_embeds=inputs,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return out

    def _train_adapters(self) -> None:
        # peft turns requires_grad off on the adapters that are not active; both are trained in every step.
        for parameter in self._lora:
            parameter.requires_grad_(True)


def make_backbone(config: ModelConfig, vocabulary: int) -> Backbone:
    """The backbone of a config.

    Args:
        vocabulary: V, for `tiny`; a pretrained backbone has its own.

    Raises:
        EvoError: there is no such backbone.
    """
    if config.backbone == "tiny":
        return Backbone(_tiny(config, vocabulary), adapters=False)
    causal = _pretrained(config.backbone)
    causal.requires_grad_(False)
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=LORA_TARGETS,
        task_type="CAUSAL_LM",
    )
    wrapped = get_peft_model(causal, lora, adapter_name=ADAPTERS[0])
    wrapped.add_adapter(ADAPTERS[1], lora)
    return Backbone(wrapped, adapters=True)


def _tiny(config: ModelConfig, vocabulary: int) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=config.hidden,
            intermediate_size=config.hidden * 8 // 3,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=32768,
            tie_word_embeddings=True,
        )
    )


def _pretrained(name: str) -> Any:
    try:
        return AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        raise EvoError(
            f"no model for backbone '{name}': {str(error).splitlines()[0]}; nothing was trained; "
            "give 'tiny', a Hugging Face folder, or an id that this machine can reach"
        ) from error

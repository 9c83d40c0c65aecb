"""The decoder under the model: `tiny` from random weights, or a Hugging Face decoder with two LoRA adapters."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
)

from evoembedding.schemas.configs import ModelConfig, TrainConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.backbones.attention import FULL, SLIDING, layer_kinds, layer_masks
from evoembedding.trainer.backbones.known import KINDS
from evoembedding.trainer.backbones.names import readable, source
from evoembedding.trainer.model_files import check_held, check_sizes, finite

Role = Literal["memory", "retriever", "plain"]
T = TypeVar("T")
Keys = Sequence[tuple[Tensor, Tensor]]  # of each layer: keys and values [B, heads, P, head size]
ADAPTERS = ("memory", "retriever")
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Backbone(nn.Module):
    """A decoder that plays three roles: memory evolution, retrieval, and the plain language model.

    A pretrained backbone is frozen and plays the first two through LoRA adapters. `tiny` has no pretrained weights to
    protect: it trains in full, and its roles differ by what they read (memory queries or EOS at the end).

    Args:
        precision: of the decoder's arithmetic. In bfloat16 the frozen weights are stored so as well; what is trained
            stays float32 and is cast where it is used, and so are the hidden states that come out.
        checkpoint_activations: recompute every pass in backward in place of keeping its activations.
    """

    def __init__(
        self,
        causal: Any,
        adapters: bool,
        precision: Literal["float32", "bfloat16"] = "float32",
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.adapters = adapters
        self.precision = precision
        self.checkpoint_activations = checkpoint_activations
        self._lora = [p for n, p in causal.named_parameters() if "lora_" in n]
        self._turn = threading.Lock()  # which adapter is on is a state of the shared decoder
        self._train_adapters()

    @property
    def hidden_size(self) -> int:
        """D."""
        return int(self._text_config.hidden_size)

    @property
    def vocabulary(self) -> int:
        """V, rows of the embedding table."""
        return int(self._plain.get_input_embeddings().num_embeddings)

    @property
    def positions(self) -> int | None:
        """Positions that the decoder is defined for; None where it sets no bound."""
        return getattr(self._text_config, "max_position_embeddings", None)

    def embed(self, ids: Tensor) -> Tensor:
        """[B, S] token ids to [B, S, D], scaled where the backbone scales its embeddings."""
        embedded: Tensor = self._plain.get_input_embeddings()(ids)
        return embedded

    def hidden(
        self,
        inputs: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        role: Role,
        behind: Keys = (),
        since: int = 0,
    ) -> Tensor:
        """Last hidden states [B, S, D] of input embeddings [B, S, D], in their type.

        Calls the decoder without its head: vocabulary logits of every token would be computed and thrown away.

        Args:
            positions: [B, S] position ids.
            mask: [B, 1, S, P + S] True where a token attends; None is causal.
            role: which adapter is on; `plain` is neither.
            behind: keys of a prefix of P tokens that these stand behind.
            since: position id of the first token of that prefix; the others count on from it.
        """

        def run(inputs: Tensor) -> Tensor:
            return self._run(inputs, positions, mask, role, DynamicCache(behind) if behind else None, since)

        return self._pass(run, inputs)

    def keys(self, inputs: Tensor, positions: Tensor, mask: Tensor | None, role: Role) -> Keys:
        """Keys and values of a prefix [B, P, D], for others to stand behind."""

        def run(inputs: Tensor) -> Keys:
            cache = DynamicCache()  # no config: a sliding layer's cache would drop what our masks say is seen
            self._run(inputs, positions, mask, role, cache, 0)
            return [(layer.keys, layer.values) for layer in cache.layers]  # type: ignore[union-attr, misc]

        return self._pass(run, inputs)

    def logits(self, hidden: Tensor) -> Tensor:
        """[A, D] hidden states to [A, V], in float32 at least."""
        head, config = self._plain.get_output_embeddings(), self._text_config
        with self._autocast(hidden):
            scores: Tensor = head(hidden.to(head.weight.dtype)).to(hidden.dtype)
        scores = scores * (getattr(config, "logit_scale", None) or 1) / (getattr(config, "logits_scaling", None) or 1)
        cap = getattr(config, "final_logit_softcapping", None)
        return (scores / cap).tanh() * cap if cap else scores

    def _pass(self, run: Callable[[Tensor], T], inputs: Tensor) -> T:
        """A pass of the decoder, whose activations are kept for backward or computed again there."""
        if not (self.checkpoint_activations and torch.is_grad_enabled()):
            return run(inputs)
        out: T = checkpoint(run, inputs, use_reentrant=False)
        return out

    def _run(
        self,
        inputs: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        role: Role,
        cache: DynamicCache | None,
        since: int,
    ) -> Tensor:
        """The role is taken in here, since a recomputation in backward must play the same one."""
        if cache is None and mask is None:  # without a cache transformers looks for packed rows, on the host
            cache = DynamicCache()
        prefix = cache.get_seq_length() if cache is not None else 0
        before = torch.arange(since, since + prefix, device=positions.device).expand(len(positions), -1)
        with self._playing(role), self._autocast(inputs):
            out: Tensor = self._plain.get_decoder()(
                inputs_embeds=inputs.to(self._plain.get_input_embeddings().weight.dtype),
                position_ids=positions,
                attention_mask=layer_masks(self._text_config, mask, positions, before),
                past_key_values=cache,
                use_cache=cache is not None,
            ).last_hidden_state
        return out.to(inputs.dtype)

    @contextmanager
    def _playing(self, role: Role) -> Iterator[None]:
        if not self.adapters:
            yield
            return
        with self._turn:
            try:
                if role == "plain":
                    with self.causal.disable_adapter():
                        yield
                else:
                    self.causal.set_adapter(role)
                    yield
            finally:  # also where a recomputation stops early, which it does by an exception
                self._train_adapters()

    def _autocast(self, like: Tensor) -> torch.autocast:
        return torch.autocast(like.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    @property
    def _plain(self) -> Any:
        return self.causal.get_base_model() if self.adapters else self.causal

    @property
    def _text_config(self) -> Any:
        return self._plain.config.get_text_config(decoder=True)

    def _train_adapters(self) -> None:
        # peft turns requires_grad off on the adapters that are not active; both are trained in every step.
        for parameter in self._lora:
            parameter.requires_grad_(True)


def make_backbone(config: TrainConfig, vocabulary: int) -> Backbone:
    """The backbone of a config.

    Args:
        vocabulary: V, for `tiny`; a pretrained backbone has its own.

    Under `torch.device("meta")` it has its shapes alone, and takes no memory.

    Raises:
        EvoError: there is no such backbone, it is damaged, or it is no decoder that the adapters fit on.
    """
    model = config.model
    if model.backbone == "tiny":
        return Backbone(_tiny(model, vocabulary), False, config.precision, config.checkpoint_activations)
    causal = _pretrained(model.backbone, getattr(torch, config.precision))
    causal.requires_grad_(False)
    lora = LoraConfig(
        r=model.lora_rank,
        lora_alpha=model.lora_alpha,
        lora_dropout=model.lora_dropout,
        target_modules=_lora_targets(causal, model.backbone),
        task_type="CAUSAL_LM",
    )
    wrapped = get_peft_model(causal, lora, adapter_name=ADAPTERS[0])
    wrapped.add_adapter(ADAPTERS[1], lora)
    for layer in wrapped.modules():
        if isinstance(layer, LoraLayer):
            layer.cast_input_dtype_enabled = False  # autocast does: inputs would go to float32 and back
    return Backbone(wrapped, True, config.precision, config.checkpoint_activations)


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


def _pretrained(name: str, dtype: torch.dtype) -> Any:
    place = source(name)
    with readable("model", name) as folder:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        _check_kind(name, config)
        check_sizes(config.to_dict())
        with torch.device("meta"):
            shapes = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                config, trust_remote_code=False, dtype=dtype
            )
        if folder:
            check_held(folder, sum(p.numel() for p in shapes.parameters()))
        if torch.get_default_device().type == "meta":
            return shapes
        # No pickled weights and no code of a hub's: both could hold any program.
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            place, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    causal, loading = loaded
    if odd := [n for n, p in causal.named_parameters() if not finite(p)]:
        raise EvoError(
            f"backbone '{name}' has {len(odd)} weights that are not all numbers, first '{odd[0]}'; nothing was "
            "trained; copy or download it again"
        )
    if missing := sorted(loading["missing_keys"]):
        raise EvoError(
            f"backbone '{name}' lacks {len(missing)} of its weights, first '{missing[0]}'; "
            "they would have been random; nothing was trained; copy or download it again"
        )
    return causal


def _check_kind(name: str, config: Any) -> None:
    """Refuse what is no causal decoder, and what packed rows cannot be read with."""
    text = config.get_text_config(decoder=True)
    problem = ""
    if getattr(config, "is_encoder_decoder", False) or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        problem = f"is of type '{config.model_type}', which is no causal decoder"
    elif getattr(text, "use_bidirectional_attention", False):
        problem = "attends in both directions, so it is no causal decoder"
    elif odd := sorted(layer_kinds(text) - {FULL, SLIDING}):
        problem = f"has layers of kind '{odd[0]}', which would carry text over from one packed segment to the next"
    if problem:
        raise EvoError(f"backbone '{name}' {problem}; nothing was trained; choose a {KINDS} model")


def _lora_targets(causal: Any, name: str) -> str:
    """A pattern of the adapted layers: those of the text decoder, not of an image encoder beside it."""
    decoder = causal.get_decoder()
    here = {n.rpartition(".")[2] for n, m in decoder.named_modules() if isinstance(m, nn.Linear)}
    if missing := [target for target in LORA_TARGETS if target not in here]:
        raise EvoError(
            f"backbone '{name}' has no layer named {', '.join(missing)}, which the adapters are put on; "
            f"nothing was trained; choose a {KINDS} model"
        )
    prefix = next(n for n, m in causal.named_modules() if m is decoder)
    return rf"{re.escape(prefix)}\..*\.({'|'.join(LORA_TARGETS)})"

"""What each layer of a decoder may see: a mask that is handed in takes the place of its sliding windows too.

One mask comes in; out goes one, or one for each kind of layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FULL, SLIDING = "full_attention", "sliding_attention"


def layer_kinds(config: Any) -> set[str]:
    """The kinds of layers of a text decoder's config."""
    return set(getattr(config, "layer_types", None) or ())


def layer_masks(
    config: Any, mask: Tensor | None, positions: Tensor, before: Tensor
) -> Tensor | dict[str, Tensor] | None:
    """The mask in the form that a Hugging Face decoder takes, its sliding windows put back.

    A window counts positions, not places in the row, so that packed pieces see what they would see alone.

    Args:
        config: of the text decoder.
        mask: [B, 1, S, P + S] True where a token attends; None is causal, and the decoder sees to its windows itself.
        positions: [B, S] position ids.
        before: [B, P] those of a prefix that the tokens stand behind.
    """
    window, kinds = getattr(config, "sliding_window", None), layer_kinds(config)
    if mask is None or window is None or (kinds and SLIDING not in kinds):
        return mask
    seen = torch.cat([before, positions], dim=1)
    near = mask & (positions[:, None, :, None] - seen[:, None, None, :] < window)
    return {FULL: mask, SLIDING: near} if kinds else near  # a decoder that names no kinds slides in every layer

"""The latent memory: a first-in-first-out queue of bounded capacity (arXiv 2606.21649, memory evolution).

How many latents it holds is `EvoModel.capacity`: what the config says, in whole segments. `EvoModel.block`, the
groups of `Reader` and `metrics.queue_use` go by it.

What a full queue drops is decided here for reading step by step. Passes over many segments at once must come to the
same: `EvoModel.embed`, `embed_segments`, `kept` and `keys`, `packing.band_mask`, and `Reader.read` and `keys`. Another
rule changes them together, and what they are held to, tests/trainer/reference.py, test_memory_queue.py and `Plain` in
benchmarks/training.py; it raises `VERSION` in trainer/identity.py. See "Beyond a full queue" in docs/model.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MemoryQueue:
    """The newest `capacity` latents, oldest first, as the memory projection gave them: [B, n <= C, D].

    A latent is read at most C / K times before it drops out: the bound that prevents representation collapse.
    """

    latents: Tensor
    capacity: int

    @classmethod
    def empty(cls, episodes: int, hidden: int, capacity: int, like: Tensor) -> MemoryQueue:
        """A queue without latents, on the device and in the type of `like`."""
        return cls(like.new_zeros(episodes, 0, hidden), capacity)

    def push(self, latents: Tensor) -> MemoryQueue:
        """The queue after [B, m, D] more latents; the oldest beyond the capacity drop out."""
        return MemoryQueue(torch.cat([self.latents, latents], dim=1)[:, -self.capacity :], self.capacity)

    def __len__(self) -> int:
        return self.latents.shape[1]


def windows(history: Tensor, ends: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """The queue as it stood when `ends` latents had been pushed, for each episode.

    Args:
        history: [B, N, D] every latent ever pushed, oldest first.
        ends: [B] latents pushed by then, on the CPU.

    Returns:
        [B, W, D] latents, padded behind, and [B] how many of them are real (min(end, capacity)), on the CPU.
    """
    sizes = ends.clamp(max=capacity)
    width = int(sizes.max()) if len(sizes) else 0
    index = (ends - sizes)[:, None] + torch.arange(width)
    # Shorter queues are padded with any latent there is: their sizes say what is real.
    index = index.clamp(max=max(history.shape[1] - 1, 0)).to(history.device, non_blocking=True)
    return history.gather(1, index[..., None].expand(-1, -1, history.shape[2])), sizes

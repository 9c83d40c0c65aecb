"""EvoEmbedding: a decoder that reads segments in order, keeps a latent memory, and embeds with it (arXiv 2606.21649).

Letters: B episodes (contexts) of a step, T segments, G questions, S tokens, K latents a segment, C capacity,
D hidden size, E embedding size, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.configs import TrainConfig
from trainer.backbones import Backbone, make_backbone
from trainer.batches import Batch
from trainer.losses import answer_loss, contrastive_loss
from trainer.memory_queue import MemoryQueue, windows
from trainer.packing import Packed, Pieces, prefix_mask
from trainer.segment_batching import segment_batches

SEPARATE_ROWS = 32  # segments beyond a full queue, each with a window of its own, in one forward
PACKED_TOKENS = 1024  # attention grows with the square of a packed row: beyond this, packing costs more than it saves


@dataclass(frozen=True)
class Losses:
    """Total loss with its gradient, and its parts without."""

    total: Tensor
    contrastive: Tensor
    memory: Tensor


class EvoModel(nn.Module):
    """The backbone with memory queries and the three projections."""

    def __init__(self, config: TrainConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.backbone: Backbone = make_backbone(config, vocabulary)
        D, E, K = self.backbone.hidden_size, config.model.embedding, config.model.latents
        self.queries = nn.Parameter(torch.randn(K, D) * 0.02)  # Q
        self.memory_projection = _identity(D, D)  # f_m, before its ReLU
        self.latent_projection = _identity(D, D)  # P_lat
        self.embedding_projection = nn.Sequential(_identity(D, E), nn.ReLU(), _identity(E, E))

    @property
    def capacity(self) -> int:
        """C, rounded down to whole segments."""
        return self.config.model.capacity // self.config.model.latents * self.config.model.latents

    def forward(self, batch: Batch) -> Losses:
        """The losses of a step's batch."""
        history = self.read(batch.memory)
        segments = self.embed_segments(history, batch.segments)
        queries = self.embed_queries(history, batch.totals, batch.queries)
        contrastive = contrastive_loss(
            queries, segments, batch.evidence, batch.present, batch.asked, self.config.temperature
        )
        memory = self._answer(history, batch) if self.config.model.memory else contrastive.new_zeros(())
        # Every parameter takes part in every step: a rank that leaves one out would stall ZeRO's reduction.
        idle = torch.stack([p.flatten()[:1].sum() for p in self.parameters() if p.requires_grad]).sum() * 0.0
        total = contrastive + self.config.memory_loss_weight * memory + idle
        return Losses(total, contrastive.detach(), memory.detach())

    def read(self, pieces: Pieces, queue: MemoryQueue | None = None) -> Tensor:
        """Read segments in order, in segment batches; every latent that was pushed, oldest first: [B, T * K, D].

        Args:
            pieces: [B, T, S] chat-template tokens.
            queue: where an earlier reading stopped; empty by default.
        """
        B = len(pieces.ids)
        K, D = self.config.model.latents, self.backbone.hidden_size
        if not self.config.model.memory:
            return self.queries.new_zeros(B, 0, D)
        queue = queue or MemoryQueue.empty(B, D, self.capacity, like=self.queries)
        history: list[Tensor] = []
        cuts = segment_batches(pieces.lengths.tolist(), self.config.batch_segments, self.config.batch_tokens)
        slots = self.backbone.vocabulary + torch.arange(K, device=pieces.ids.device)
        for start, stop in cuts:
            packed = Packed.of(pieces[start:stop].followed_by(slots))
            prefix = self.latent_projection(queue.latents)
            inputs = torch.cat([prefix, self._embed(packed.ids)], dim=1)
            positions = torch.arange(inputs.shape[1], device=inputs.device).expand(B, -1)
            hidden = self.backbone.hidden(inputs, positions, None, "memory")
            ends = len(queue) + packed.start + pieces.lengths[:, start:stop]  # [B, n] first query token
            at = (ends[..., None] + torch.arange(K, device=ends.device)).flatten(1)
            latents = self._project(_at(hidden, at))
            history.append(latents)
            queue = queue.push(latents)
        return torch.cat(history, dim=1) if history else queue.latents

    def embed_segments(self, history: Tensor, pieces: Pieces, before: int = 0) -> Tensor:
        """Embed each segment with the queue as it stood before it: [B, T, E], normalised.

        While the queue is not full, all segments share one growing prefix and go in one packed forward; beyond it
        each has a window of its own.

        Args:
            history: [B, N, D] latents that were in the queue before the first segment, and those pushed since.
            pieces: [B, T, S] retriever tokens.
            before: how many of the latents came before the first segment.
        """
        B, T, _ = pieces.ids.shape
        K, C = self.config.model.latents, self.capacity
        if not self.config.model.memory:
            return self._embed_packed(history, pieces, torch.zeros(B, T, dtype=torch.long, device=history.device))
        seen = before + K * torch.arange(T, device=history.device)  # latents pushed before each segment
        shared = int((seen <= C).sum())
        out = []
        if shared:
            out.append(self._embed_packed(history, pieces[:shared], seen[:shared].expand(B, -1)))
        for start in range(shared, T, SEPARATE_ROWS):
            stop = min(start + SEPARATE_ROWS, T)
            window = torch.stack([history[:, end - C : end] for end in seen[start:stop].tolist()], dim=1)
            cut = pieces[start:stop]
            rows = Pieces(cut.ids.flatten(0, 1)[:, None], cut.lengths.flatten()[:, None])
            visible = torch.full((len(rows.lengths), 1), C, device=history.device)
            out.append(self._embed_packed(window.flatten(0, 1), rows, visible).reshape(B, stop - start, -1))
        return torch.cat(out, dim=1)

    def embed_queries(self, history: Tensor, totals: Tensor, pieces: Pieces) -> Tensor:
        """Embed queries with the final memory: [B, G, E], normalised.

        Args:
            history: [B, N, D] every latent pushed.
            totals: [B] segments that each episode really has.
            pieces: [B, G, S] query tokens.
        """
        latents, sizes = self._final(history, totals)
        return self._embed_packed(latents, pieces, sizes[:, None].expand(-1, pieces.ids.shape[1]))

    def _final(self, history: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
        """The queue after each episode's last segment, and how many latents it holds."""
        if not self.config.model.memory:
            return history, torch.zeros_like(totals)
        return windows(history, totals * self.config.model.latents, self.capacity)

    def _embed_packed(self, latents: Tensor, pieces: Pieces, visible: Tensor) -> Tensor:
        """The retriever: [latents; piece] for each piece, which sees the first `visible` [B, G] latents."""
        cuts = segment_batches(pieces.lengths.tolist(), pieces.lengths.shape[1], PACKED_TOKENS)
        rows = [self._embed_row(latents, pieces[a:b], visible[:, a:b]) for a, b in cuts]
        return torch.cat(rows, dim=1)

    def _embed_row(self, latents: Tensor, pieces: Pieces, visible: Tensor) -> Tensor:
        latents = latents[:, : int(visible.max())]
        packed = Packed.of(pieces)
        seen = visible.gather(1, packed.group.clamp(min=0))
        mask, positions = prefix_mask(packed, latents.shape[1], seen)
        inputs = torch.cat([self.latent_projection(latents), self._embed(packed.ids)], dim=1)
        hidden = self.backbone.hidden(inputs, positions, mask, "retriever")
        last = latents.shape[1] + (packed.start + pieces.lengths - 1).clamp(min=0)
        return F.normalize(self.embedding_projection(self._project(_at(hidden, last))), dim=-1)

    def _answer(self, history: Tensor, batch: Batch) -> Tensor:
        """L_mem: the plain backbone reads [opening; memory; question] and is to say the answer."""
        latents, sizes = self._final(history, batch.totals)
        opening = self._embed(batch.opening.expand(len(sizes), -1))
        prefix = torch.cat([opening, self.latent_projection(latents)], dim=1)
        packed = Packed.of(batch.answers)
        visible = (sizes + opening.shape[1])[:, None].expand_as(packed.ids)
        mask, positions = prefix_mask(packed, prefix.shape[1], visible)
        inputs = torch.cat([prefix, self._embed(packed.ids)], dim=1)
        hidden = self.backbone.hidden(inputs, positions, mask, "plain")[:, prefix.shape[1] :]
        # Token j of an answer is predicted at the position before it.
        asked = packed.group >= 0
        spoken = asked & (packed.offset >= batch.answer_starts.gather(1, packed.group.clamp(min=0)))
        b, s = spoken.nonzero(as_tuple=True)
        return answer_loss(self.backbone.logits(hidden[b, s - 1]), packed.ids[b, s], int(batch.asked.sum()))

    def _embed(self, ids: Tensor) -> Tensor:
        """Token embeddings; ids from V on are the memory queries."""
        V = self.backbone.vocabulary
        tokens = self.backbone.embed(ids.clamp(max=V - 1))
        return torch.where((ids >= V)[..., None], self.queries[(ids - V).clamp(min=0)], tokens)

    def _project(self, hidden: Tensor) -> Tensor:
        """f_m."""
        return F.relu(self.memory_projection(hidden))


def _at(hidden: Tensor, index: Tensor) -> Tensor:
    """[B, N, D] hidden states at [B, N] positions."""
    return hidden.gather(1, index[..., None].expand(-1, -1, hidden.shape[-1]))


def _identity(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts as a (rectangular) identity with zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer

"""EvoEmbedding: a decoder that reads segments in order, keeps a latent memory, and embeds with it (arXiv 2606.21649).

Letters: B episodes (contexts) of a step, T segments, G questions, S tokens, K latents a segment, C capacity,
D hidden size, E embedding size, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evoembedding.schemas.configs import TrainConfig
from evoembedding.trainer.backbones.decoder import Backbone, Keys, Role, make_backbone
from evoembedding.trainer.model.batches import Batch
from evoembedding.trainer.model.losses import answer_loss, contrastive_loss
from evoembedding.trainer.model.memory_queue import MemoryQueue, windows
from evoembedding.trainer.model.packing import Packed, Pieces, Spots, band_mask, cut, window_mask
from evoembedding.trainer.model.segment_batching import segment_batches

BLOCK = 64  # segments that share one prefix in the retriever
ROW_TOKENS = 256  # of pieces in a row behind a prefix: longer rows attend to more in vain, shorter ones pad more
PASS_TOKENS = 2048  # of such rows in one forward


class Losses(NamedTuple):
    """Total loss with its gradient, and its parts without. ZeRO-3 looks for tensors in tuples, not in dataclasses."""

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
        self.queries = nn.Parameter(torch.randn(K, D) * 0.02)  # Q, with the paper's deviation
        # All begin as identities, as in the paper.
        self.memory_projection = _identity(D, D)  # f_m, before its ReLU
        self.latent_projection = _identity(D, D)  # P_lat
        self.embedding_projection = nn.Sequential(_identity(D, E), nn.ReLU(), _identity(E, E))

    @property
    def capacity(self) -> int:
        """C, rounded down to whole segments."""
        return self.config.model.capacity // self.config.model.latents * self.config.model.latents

    @property
    def latents(self) -> int:
        """K, or 0 where the memory is off."""
        return self.config.model.latents if self.config.model.memory else 0

    @property
    def block(self) -> int:
        """Segments that share one prefix in the retriever: one, where each memory overwrites the one before."""
        return 1 if self.latents == self.capacity else BLOCK

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained, by name; a frozen backbone's are not."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def forward(self, batch: Batch) -> Losses:
        """The losses of a step's batch."""
        config = self.config
        history = self.read(batch.memory)
        segments, queries = self.embed(history, batch)
        contrastive = contrastive_loss(
            queries,
            segments,
            batch.evidence,
            batch.present,
            batch.asked,
            config.temperature,
            config.length_weight,
        )
        answered = config.model.memory and config.memory_loss_weight > 0
        memory = self._answer(history, batch) if answered else contrastive.new_zeros(())
        total = contrastive + config.memory_loss_weight * memory
        return Losses(total, contrastive.detach(), memory.detach())

    def read(self, pieces: Pieces, queue: MemoryQueue | None = None) -> Tensor:
        """Read segments in order, in segment batches; every latent that was pushed, oldest first: [B, T * K, D].

        Args:
            pieces: [B, T, S] chat-template tokens.
            queue: where an earlier reading stopped; empty by default.
        """
        B = len(pieces.ids)
        K, D = self.latents, self.backbone.hidden_size
        if not K:
            return self.queries.new_zeros(B, 0, D)
        queue = queue or MemoryQueue.empty(B, D, self.capacity, like=self.queries)
        history: list[Tensor] = []
        cuts = segment_batches(pieces.lengths.tolist(), self.config.batch_segments, self.config.batch_tokens)
        for start, stop in cuts:
            packed = Packed.of(pieces[start:stop].with_places(K))
            ends = packed.start + pieces.lengths[:, start:stop]  # [B, n] place of the first query
            at = (ends[..., None] + torch.arange(K)).flatten(1).to(self.queries.device, non_blocking=True)
            at = at[..., None].expand(-1, -1, D)
            queries = self.queries.repeat(stop - start, 1).expand(B, -1, -1)
            # P_lat is applied at each reading: the queue keeps what f_m gave.
            prefix = self.latent_projection(queue.latents)
            inputs = torch.cat([prefix, self._embed(packed.ids).scatter(1, at, queries)], dim=1)
            hidden = self.backbone.hidden(inputs, _count(inputs), None, "memory")
            latents = self._project(hidden.gather(1, at + len(queue)))
            history.append(latents)
            queue = queue.push(latents)
        return torch.cat(history, dim=1) if history else queue.latents

    def embed(self, history: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embed a batch's segments [B, T, E] and its queries [B, G, E].

        While no queue is full, the memory of a query begins with those of the segments: one prefix serves both.
        """
        if history.shape[1] > self.capacity:
            segments = self.embed_segments(history, batch.segments)
            return segments, self.embed_queries(history, batch.totals, batch.queries)
        T, K = batch.segments.lengths.shape[1], self.latents
        sizes = (batch.totals * K)[:, None].expand_as(batch.queries.lengths)
        high = torch.cat([(torch.arange(T) * K).expand(len(history), -1), sizes], dim=1)
        pieces = batch.segments.beside(batch.queries)
        vectors = self._embed_behind(self.keys(history), pieces, torch.zeros_like(high), high)
        return vectors[:, :T], vectors[:, T:]

    def embed_segments(self, history: Tensor, pieces: Pieces, first: int = 0) -> Tensor:
        """Embed each segment with the queue as it stood before it: [B, T, E], normalised.

        Segments go in blocks. Those of a block share a prefix: the queue before the first, and the latents pushed
        since. A segment sees the C newest of them, and so does a latent. While the queue is not full that is what a
        pass of its own would give; beyond it a pass of its own would cut off what the oldest latents have seen.

        Args:
            history: [B, N, D] latents up to those of the last of these segments; of earlier ones at least `kept`.
            pieces: [B, T, S] retriever tokens.
            first: index of the first of these segments in its conversation.
        """
        T = pieces.lengths.shape[1]
        B, K, C = len(history), self.latents, self.capacity
        origin = (first + T) * K - history.shape[1]  # latents pushed before the oldest of history
        out = []
        start = first
        while start < first + T:
            # From the conversation's first segment on: how much is appended at once changes no embedding.
            block = start // self.block * self.block
            stop = min(block + self.block, first + T)
            base = max(0, block * K - C)
            high = (torch.arange(start, stop) * K - base).expand(B, -1)
            prefix = history[:, base - origin : (stop - 1) * K - origin]
            those = pieces[start - first : stop - first]
            out.append(self._embed_behind(self.keys(prefix), those, (high - C).clamp(min=0), high))
            start = stop
        return torch.cat(out, dim=1) if out else history.new_zeros(B, 0, self.config.model.embedding)

    def kept(self, read: int) -> int:
        """How many latents to keep once `read` segments are read, for those that follow."""
        # Beside a full queue the latents of the block that was begun: its next segments share its prefix.
        return min(read * self.latents, self.capacity + read % self.block * self.latents)

    def keys(self, latents: Tensor) -> Keys:
        """What the retriever makes of a memory [B, P, D], for any number of queries to come."""
        prefix = self.latent_projection(latents)
        mask = band_mask(prefix.shape[1], self.capacity, prefix.device)
        return self.backbone.keys(prefix, _count(prefix), mask, "retriever") if prefix.shape[1] else ()

    def embed_queries(self, history: Tensor, totals: Tensor, pieces: Pieces, keys: Keys | None = None) -> Tensor:
        """Embed queries with the final memory: [B, G, E], normalised.

        Args:
            history: [B, N, D] every latent pushed.
            totals: [B] segments that each episode really has, on the CPU.
            pieces: [B, G, S] query tokens.
            keys: of the final memory, where they are there already.
        """
        latents, sizes = self._final(history, totals)
        high = sizes[:, None].expand_as(pieces.lengths)
        keys = self.keys(latents) if keys is None else keys
        return self._embed_behind(keys, pieces, torch.zeros_like(high), high)

    def _final(self, history: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
        """The queue after each episode's last segment, and how many latents it holds."""
        return windows(history, totals * self.latents, self.capacity)

    def _embed_behind(self, keys: Keys, pieces: Pieces, low: Tensor, high: Tensor) -> Tensor:
        """The retriever: [latents; piece] for each piece, which sees the latents from `low` to `high`, [B, G] each."""
        packed = Packed.of(pieces, ROW_TOKENS)
        last = Spots(packed.row.flatten(), (packed.start + pieces.lengths - 1).clamp(min=0).flatten())
        hidden = self._behind(keys, packed, low, high, last, "retriever")
        vectors = F.normalize(self.embedding_projection(self._project(hidden)), dim=-1)
        return vectors.view(*pieces.lengths.shape, -1)

    def _behind(self, keys: Keys, packed: Packed, low: Tensor, high: Tensor, spots: Spots, role: Role) -> Tensor:
        """Hidden states [N, D] at N spots of rows behind a prefix.

        Args:
            keys: of the prefix [B, P, D], whose place p has position id p; computed once for all rows.
            low: [B, G] first place of the prefix that each piece sees, and
            high: [B, G] the place behind the last: the position id of the piece's first token.
        """
        device = packed.ids.device
        found, order = [], []
        for rows in cut(packed.widths, len(packed.owner), PASS_TOKENS):
            part = packed.rows(rows[0], rows[-1] + 1)
            lows, highs = part.of_pieces(low), part.of_pieces(high)
            # Places that no piece of these rows sees would only be masked.
            a, b = int(lows.min()), int(highs.max())
            mask = window_mask(part, lows - a, highs - a, b - a, device)
            positions = (highs + part.offset).to(device, non_blocking=True)
            behind = _seen(keys, part.owner, a, b) if b > a else ()
            hidden = self.backbone.hidden(self._embed(part.ids), positions, mask, role, behind, a)
            here = ((spots.row >= rows[0]) & (spots.row <= rows[-1])).nonzero()[:, 0]
            at = (spots.row[here] - rows[0]) * hidden.shape[1] + spots.column[here]
            found.append(hidden.flatten(0, 1)[at.to(device, non_blocking=True)])
            order.append(here)
        # Rows come by piece, spots by episode.
        return torch.cat(found)[torch.cat(order).argsort().to(device, non_blocking=True)]

    def _answer(self, history: Tensor, batch: Batch) -> Tensor:
        """L_mem: the plain backbone reads [opening; memory; question] and is to say the answer."""
        latents, sizes = self._final(history, batch.totals)
        opening = self._embed(batch.opening.expand(len(sizes), -1))
        prefix = torch.cat([opening, self.latent_projection(latents)], dim=1)
        packed = Packed.of(batch.answers, ROW_TOKENS)
        high = (sizes + opening.shape[1])[:, None].expand_as(batch.answers.lengths)
        # Token j of an answer is predicted at the place before it.
        spoken = (packed.group >= 0) & (packed.offset >= packed.of_pieces(batch.answer_starts))
        row, column = spoken.nonzero(as_tuple=True)
        spots = Spots(row, column - 1)
        # With both adapters off, as in the paper: the plain backbone has to be able to read the memory.
        keys = self.backbone.keys(prefix, _count(prefix), None, "plain")
        hidden = self._behind(keys, packed, torch.zeros_like(high), high, spots, "plain")
        device = hidden.device
        targets = packed.ids[row.to(device, non_blocking=True), column.to(device, non_blocking=True)]
        return answer_loss(self.backbone.logits(hidden), targets, len(batch.episode_ids))

    def _embed(self, ids: Tensor) -> Tensor:
        """Token embeddings in the type of what is trained."""
        return self.backbone.embed(ids).to(self.queries.dtype)

    def _project(self, hidden: Tensor) -> Tensor:
        """f_m."""
        return F.relu(self.memory_projection(hidden))


def _count(inputs: Tensor) -> Tensor:
    """Position ids [B, S] from 0."""
    return torch.arange(inputs.shape[1], device=inputs.device).expand(len(inputs), -1)


def _seen(keys: Keys, owner: Tensor, start: int, stop: int) -> Keys:
    """The places from `start` to `stop` of the keys [B, ...] of each row's episode, [R, ...]."""
    cut_out = [(k[:, :, start:stop], v[:, :, start:stop]) for k, v in keys]
    # One episode, as in a session: views, where several take a copy a row.
    if len(keys[0][0]) == 1:
        return [(k.expand(len(owner), -1, -1, -1), v.expand(len(owner), -1, -1, -1)) for k, v in cut_out]
    at = owner.to(keys[0][0].device, non_blocking=True)
    return [(k[at], v[at]) for k, v in cut_out]


def _identity(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts as a (rectangular) identity with zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer

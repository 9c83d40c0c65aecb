"""Pieces of text packed into rows that share a prefix: the one layout of every pass of the model.

A row is `[prefix; piece 1; piece 2; ...]`. In the memory pass a piece sees all before it; in the other passes a piece
sees only itself and its share of the prefix, so that one forward gives what separate padded passes would give.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pieces:
    """G pieces for each of B episodes, padded behind: ids [B, G, S], lengths [B, G] (0: no such piece)."""

    ids: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, rows: list[list[list[int]]]) -> Pieces:
        """From token lists [B][G][S]."""
        groups = max((len(row) for row in rows), default=0)
        size = max((len(piece) for row in rows for piece in row), default=0)
        ids = torch.zeros(len(rows), groups, size, dtype=torch.long)
        lengths = torch.zeros(len(rows), groups, dtype=torch.long)
        for b, row in enumerate(rows):
            for g, piece in enumerate(row):
                ids[b, g, : len(piece)] = torch.tensor(piece, dtype=torch.long)
                lengths[b, g] = len(piece)
        return cls(ids, lengths)

    def __getitem__(self, cut: slice) -> Pieces:
        """The pieces of a range of groups."""
        lengths = self.lengths[:, cut]
        size = int(lengths.max()) if lengths.numel() else 0
        return Pieces(self.ids[:, cut, :size], lengths)

    def followed_by(self, tail: Tensor) -> Pieces:
        """Each piece with the [K] tokens of `tail` right behind its last token."""
        B, G = self.lengths.shape
        ids = torch.cat([self.ids, self.ids.new_zeros(B, G, len(tail))], dim=2)
        at = self.lengths[..., None] + torch.arange(len(tail), device=ids.device)
        return Pieces(ids.scatter(2, at, tail.expand(B, G, -1)), self.lengths + len(tail))


@dataclass(frozen=True)
class Packed:
    """Pieces in rows without gaps, padded behind: ids, group (-1: padding) and offset in the piece, each [B, S].

    `start` [B, G] is where each piece begins in its row.
    """

    ids: Tensor
    group: Tensor
    offset: Tensor
    start: Tensor

    @classmethod
    def of(cls, pieces: Pieces) -> Packed:
        B, G, S = pieces.ids.shape
        device = pieces.ids.device
        start = pieces.lengths.cumsum(1) - pieces.lengths
        width = int(pieces.lengths.sum(1).max()) if pieces.lengths.numel() else 0
        o = torch.arange(S, device=device).expand(B, G, S)
        real = o < pieces.lengths[..., None]
        b = torch.arange(B, device=device)[:, None, None].expand(B, G, S)
        g = torch.arange(G, device=device)[None, :, None].expand(B, G, S)
        at = (b[real], (start[..., None] + o)[real])
        blank = torch.zeros(B, width, dtype=torch.long, device=device)
        return cls(
            ids=blank.index_put(at, pieces.ids[real]),
            group=(blank - 1).index_put(at, g[real]),
            offset=blank.index_put(at, o[real]),
            start=start,
        )


def prefix_mask(packed: Packed, prefix: int, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Who sees whom when each piece sees itself and the first `visible` of the prefix, and nothing else.

    Args:
        prefix: P, length of the prefix, which sees itself causally.
        visible: [B, S] how much of the prefix each token sees.

    Returns:
        Boolean mask [B, 1, P + S, P + S] (True: attends) and position ids [B, P + S] that count attended tokens.
    """
    B, S = packed.ids.shape
    device = packed.ids.device
    p = torch.arange(prefix, device=device)
    s = torch.arange(S, device=device)
    mask = torch.zeros(B, prefix + S, prefix + S, dtype=torch.bool, device=device)
    mask[:, :prefix, :prefix] = p[None, :] <= p[:, None]
    mask[:, prefix:, :prefix] = p < visible[..., None]
    mask[:, prefix:, prefix:] = (packed.group[:, None, :] == packed.group[..., None]) & (s[None, :] <= s[:, None])
    positions = torch.cat([p.expand(B, -1), visible + packed.offset], dim=1)
    return mask[:, None], positions

"""Pieces of text packed into rows: the one layout of every pass of the model.

In the memory pass a row holds all segments of an episode, and each sees all before it. In the other passes rows stand
behind a prefix that an episode's rows share; there a piece sees only itself and its window of the prefix, so that one
forward gives what separate padded passes would give.

Only token ids are on the model's device. All that says where they lie is on the CPU, so that laying them out never
waits for a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Pieces:
    """G pieces for each of B episodes, padded behind: ids [B, G, S], lengths [B, G] on the CPU (0: no such piece)."""

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

    def to(self, device: torch.device) -> Pieces:
        """The same with its ids on a device."""
        return Pieces(self.ids.to(device, non_blocking=True), self.lengths)

    def __getitem__(self, cut: slice) -> Pieces:
        """The pieces of a range of groups."""
        lengths = self.lengths[:, cut]
        size = int(lengths.max()) if lengths.numel() else 0
        return Pieces(self.ids[:, cut, :size], lengths)

    def beside(self, others: Pieces) -> Pieces:
        """These pieces of each episode, and then the others."""
        size = max(self.ids.shape[2], others.ids.shape[2])
        ids = [F.pad(each.ids, (0, size - each.ids.shape[2])) for each in (self, others)]
        return Pieces(torch.cat(ids, dim=1), torch.cat([self.lengths, others.lengths], dim=1))

    def with_places(self, count: int) -> Pieces:
        """Each piece with so many places behind its last token, for what is no token."""
        return Pieces(F.pad(self.ids, (0, count)), self.lengths + count)


class Spots(NamedTuple):
    """N places in rows, on the CPU: row [N] and column [N]."""

    row: Tensor
    column: Tensor


@dataclass(frozen=True)
class Packed:
    """R rows of pieces without gaps, padded behind to W tokens.

    ids, group (-1: padding) and offset in the piece are [R, W]; owner [R] is the episode of a row. Piece g of episode b
    begins at column `start[b, g]` of row `row[b, g]`.
    """

    ids: Tensor
    group: Tensor
    offset: Tensor
    owner: Tensor
    row: Tensor
    start: Tensor

    @classmethod
    def of(cls, pieces: Pieces, most: int | None = None) -> Packed:
        """Rows of at most `most` tokens, but for a longer piece, which has a row of its own; early pieces come first.

        Without `most`, all pieces of an episode share one row, in the order of the episodes.
        """
        B, G, S = pieces.ids.shape
        rows: list[tuple[int, int]] = []  # first piece, and episode
        row, start = [[0] * G for _ in range(B)], [[0] * G for _ in range(B)]
        for b, lengths in enumerate(pieces.lengths.tolist()):
            rows.append((0, b))
            filled = 0
            for g, length in enumerate(lengths):
                if most is not None and filled and filled + length > most:
                    rows.append((g, b))
                    filled = 0
                row[b][g], start[b][g] = len(rows) - 1, filled
                filled += length
        # Rows of like pieces lie together, so that a pass over some rows needs little of the prefix.
        order = torch.tensor(sorted(range(len(rows)), key=rows.__getitem__), dtype=torch.long)
        at = order.argsort()[torch.tensor(row, dtype=torch.long).reshape(B, G)]
        begin = torch.tensor(start, dtype=torch.long).reshape(B, G)
        width = int((begin + pieces.lengths).max()) if G and B else 0
        o = torch.arange(S).expand(B, G, S)
        real = o < pieces.lengths[..., None]
        places = (at[..., None] * width + begin[..., None] + o)[real]
        blank = torch.zeros(len(rows) * width, dtype=torch.long)
        group = torch.arange(G)[None, :, None].expand(B, G, S)
        device = pieces.ids.device
        # By places from the CPU: the size of what a mask on a GPU picks out would have to be waited for.
        found = pieces.ids.flatten()[real.flatten().nonzero()[:, 0].to(device, non_blocking=True)]
        ids = torch.zeros_like(blank, device=device).index_put((places.to(device, non_blocking=True),), found)
        return cls(
            ids=ids.view(len(rows), width),
            group=(blank - 1).index_put((places,), group[real]).view(len(rows), width),
            offset=blank.index_put((places,), o[real]).view(len(rows), width),
            owner=torch.tensor([rows[i][1] for i in order], dtype=torch.long),
            row=at,
            start=begin,
        )

    @cached_property
    def widths(self) -> list[int]:
        """Tokens of each row, without its padding."""
        return (self.group >= 0).sum(1).tolist()

    def rows(self, first: int, stop: int) -> Packed:
        """A range of rows, as wide as its longest; `row` and `start` stay those of the whole."""
        wide = max(self.widths[first:stop], default=0)
        ids, group, offset = (t[first:stop, :wide] for t in (self.ids, self.group, self.offset))
        return Packed(ids, group, offset, self.owner[first:stop], self.row, self.start)

    def of_pieces(self, values: Tensor) -> Tensor:
        """What [B, G] values say of each token's piece: [R, W] (of padding, anything)."""
        return values[self.owner[:, None], self.group.clamp(min=0)]


def cut(tokens: Sequence[int], max_rows: int, token_budget: int) -> list[list[int]]:
    """Row indices in batches of neighbours: at most `max_rows`, and rows times longest within the budget.

    A single row beyond the budget goes alone. `tokens` are the rows' lengths.
    """
    batches: list[list[int]] = []
    current: list[int] = []
    longest = 0
    for row, length in enumerate(tokens):
        wider = max(longest, length)
        # Rows are padded to the longest: that times their number is what is paid for.
        if current and (len(current) == max_rows or wider * (len(current) + 1) > token_budget):
            batches.append(current)
            current, wider = [], length
        current.append(row)
        longest = wider
    return [*batches, current] if current else batches


def window_mask(packed: Packed, low: Tensor, high: Tensor, prefix: int, device: torch.device) -> Tensor:
    """Who sees whom when each token sees its piece so far and the prefix from `low` to `high`, and nothing else.

    Args:
        low: [R, W] first place of the prefix that each token sees, and
        high: [R, W] the place behind the last.
        prefix: P, length of the prefix.

    Returns:
        Boolean mask [R, 1, W, P + W] on the device (True: attends).
    """
    low, high, group = (t.to(device, non_blocking=True) for t in (low, high, packed.group))
    p, s = torch.arange(prefix, device=device), torch.arange(group.shape[1], device=device)
    before = (p >= low[..., None]) & (p < high[..., None])
    own = (group[:, None, :] == group[..., None]) & (s[None, :] <= s[:, None])
    return torch.cat([before, own], dim=2)[:, None]


def band_mask(tokens: int, width: int, device: torch.device) -> Tensor | None:
    """Causal mask [1, 1, S, S] of tokens that see at most `width` tokens, themselves included; None if all are seen."""
    if tokens <= width:
        return None
    s = torch.arange(tokens, device=device)
    back = s[:, None] - s[None, :]
    return ((back >= 0) & (back < width))[None, None]

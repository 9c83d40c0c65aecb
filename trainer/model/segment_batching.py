"""Segment-batching: which consecutive segments one memory pass reads together (arXiv 2606.21649, segment-batching).

Token counts come in; ranges of segments go out.
"""

from __future__ import annotations

from collections.abc import Sequence


def segment_batches(lengths: Sequence[Sequence[int]], max_segments: int, max_tokens: int) -> list[tuple[int, int]]:
    """Cuts `[start, stop)` of T segments, the same for all episodes of a step (lock-step).

    A batch closes at `max_segments`, or when the next segment would take any episode past `max_tokens`; a single
    longer segment goes alone. With one episode this is the paper's rule.

    Args:
        lengths: [B][T] tokens of each segment; 0 where an episode has ended.
    """
    total = max((len(row) for row in lengths), default=0)
    cuts: list[tuple[int, int]] = []
    start = 0
    held = [0] * len(lengths)
    for t in range(total):
        following = [row[t] if t < len(row) else 0 for row in lengths]
        full = any(h + f > max_tokens for h, f in zip(held, following, strict=True))
        if t > start and (t - start == max_segments or full):
            cuts.append((start, t))
            start, held = t, [0] * len(lengths)
        held = [h + f for h, f in zip(held, following, strict=True)]
    if total:
        cuts.append((start, total))
    return cuts

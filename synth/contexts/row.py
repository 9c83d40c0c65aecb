"""A context as the row that is stored: its id follows from what it says, and from what it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from evoembedding.schemas.episode import Context, Segment, Split
from evoembedding.schemas.ids import content_id


def context_row(
    kind: Literal["dialogue", "web", "memory"],
    generator: str,
    segments: Sequence[Segment],
    fingerprint: str,
    *,
    seed: int,
    split: Split = "train",
    document_ids: tuple[str, ...] = (),
    source_ids: tuple[str, ...] = (),
    calls: tuple[str, ...] = (),
    origin: Mapping[str, str] | None = None,
) -> Context:
    """The context of these segments. `origin` is hashed with them: equal texts of two origins stay two contexts."""
    content = {
        "segments": [[s.user, s.assistant] for s in segments],
        "kind": kind,
        "generator": generator,
        "split": split,
        **(origin or {}),
    }
    return Context(
        context_id=content_id("ctx", content),
        kind=kind,
        generator=generator,
        split=split,
        seed=seed,
        document_ids=document_ids,
        segments=tuple(segments),
        fingerprint=fingerprint,
        source_ids=source_ids,
        calls=calls,
    )

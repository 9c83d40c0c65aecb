"""Content ids: the same content gives the same id on every machine."""

from __future__ import annotations

import hashlib
import json


def canonical(content: object) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8: the bytes that ids hash."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def digest(content: object, size: int = 32) -> str:
    """BLAKE2b of the canonical JSON of `content`, as `2 * size` hex digits."""
    return hashlib.blake2b(canonical(content), digest_size=size).hexdigest()


def content_id(prefix: str, content: object) -> str:
    """`prefix-` and 20 hex digits (80 bits: a collision among 10^9 rows has odds of about 4 in 10^7)."""
    return f"{prefix}-{digest(content, 10)}"

"""How often a test tries what it tries: a few times in CI, the full count in `make soak`."""

from __future__ import annotations

import os

SOAKING = os.environ.get("EVO_SOAK") == "1"


def count(few: int, full: int) -> int:
    """`few`, or with `EVO_SOAK=1` the `full` count."""
    return full if SOAKING else few

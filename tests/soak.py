"""How often a test tries what it tries: a few times in CI, the full count in `make soak`."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

SOAKING = os.environ.get("EVO_SOAK") == "1"


def count(few: T, full: T) -> T:
    """`few`, or with `EVO_SOAK=1` the `full` count."""
    return full if SOAKING else few

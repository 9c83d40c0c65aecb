"""How often a test tries what it tries: a few times in CI, the full count in `make soak`."""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

T = TypeVar("T")

SOAKING = os.environ.get("EVO_SOAK") == "1"

# Of what another test tries as well, if not so often or on so many kinds.
only_soaking = pytest.mark.skipif(not SOAKING, reason="another test tries its kind; this one is of `make soak`")


def count(few: T, full: T) -> T:
    """`few`, or with `EVO_SOAK=1` the `full` count."""
    return full if SOAKING else few

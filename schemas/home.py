"""Where state lives."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The state folder: `$EVO_HOME`, or `./.evo`."""
    return Path(os.environ.get("EVO_HOME") or ".evo").absolute()

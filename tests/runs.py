"""Training runs seen from outside: their curve, and the processes that train them."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def curve(run: Path) -> list[tuple[int, float]]:
    """(step, loss) of a training run's whole metric lines."""
    lines = (run / "metrics.jsonl").read_text().split("\n")[:-1]
    return [(row["step"], row["loss"]) for row in map(json.loads, lines)]


def ranks_of(run: Path) -> list[int]:
    """Processes that train a run, seen in /proc."""
    command = [
        word.encode() for word in (sys.executable, "-m", "evoembedding.trainer.training.loop", str(run / "job.json"))
    ]
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:4] == command:
            found.append(int(entry.name))
    return found

"""How many threads a process may take for what it computes."""

from __future__ import annotations

import os


def threads() -> int:
    """As `OMP_NUM_THREADS` says, which torch goes by too; else as many as there are cores.

    Processes beside each other are faster with one each: for the small queries of a command DuckDB's threads wait for
    each other, and take a third more of the processor's time, on a busy machine two thirds (docs/performance.md).
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(int(asked), 1) if asked.isdecimal() else os.cpu_count() or 1

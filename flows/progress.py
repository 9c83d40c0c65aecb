"""What a run says while it works: to the terminal, and to the run's log in Prefect."""

from __future__ import annotations

import sys
from contextlib import suppress

from prefect import get_run_logger
from prefect.exceptions import MissingContextError


def tell(line: str) -> None:
    """One line of progress. Standard error, so that `--json` stays clean."""
    print(line, file=sys.stderr, flush=True)
    with suppress(MissingContextError):  # outside a run the terminal is all there is
        get_run_logger().info(line)

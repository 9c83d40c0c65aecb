"""The commands `evo backup` and `evo restore`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from evoembedding.flows.settings import state
from evoembedding.flows.terminal.console import Json, say, warn

EVERY_S = 5.0  # seconds between lines of progress


def backup(
    to: Annotated[Path, typer.Argument(metavar="TO", help="A new folder, which appears when the backup is complete.")],
    as_json: Json = False,
) -> None:
    """Copy the state folder as it is at one point, while commands may go on; the copy is checked as doctor does."""
    from evoembedding.flows.commands.doctor import WEIGHTS
    from evoembedding.warehouse.upkeep.backup import back_up

    made = back_up(state(), to, WEIGHTS, _progress("backup"))
    result = {"backup": str(to.absolute()), "files": len(made.files), "bytes": made.bytes, "snapshot": made.snapshot}
    say(result, as_json, f"backup: {len(made.files)} files, {made.bytes / 1e6:.1f} MB at {to}")


def restore(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="A folder that 'evo backup' has made.")],
    as_json: Json = False,
) -> None:
    """Fill the empty state folder from a backup, each file checked; what was broken off then can be finished there."""
    from evoembedding.warehouse.upkeep.restore import restore as fill

    home = state()
    made = fill(source, home, _progress("restore"))
    result = {"home": str(home), "files": len(made.files), "bytes": made.bytes, "snapshot": made.snapshot}
    say(result, as_json, f"restored: {len(made.files)} files, {made.bytes / 1e6:.1f} MB at {home}")


def _progress(what: str) -> Callable[[int, int], None]:
    """Tells now and then how far it is."""
    reported = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > EVERY_S:
            reported = time.monotonic()
            warn(f"{what}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

    return progress

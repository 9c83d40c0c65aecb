"""What is done when this process leaves in a hurry: children that would outlive it are ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_acts: list[Callable[[], object]] = []


@contextmanager
def at_the_end(act: Callable[[], object]) -> Iterator[None]:
    """While this block runs, leaving in a hurry does `act` first."""
    _acts.append(act)
    try:
        yield
    finally:
        _acts.remove(act)


def end() -> None:
    """Do all that is to be done, the latest first; a fault of one keeps none of the others."""
    for act in reversed(_acts):
        with suppress(Exception):
            act()

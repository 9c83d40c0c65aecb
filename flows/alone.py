"""One run at a time in a home: of a recipe, the second waits for the first, and then finds what that has left to do; of
what retrains a model, it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from evoembedding.flows.progress import tell
from evoembedding.schemas.errors import EvoError

# Under the state folder, by recipe and by model.
SYNTHESIS, RETRAINING = "synthesis-{}.lock", "retrain-{}.lock"
LOOK_EVERY_S = 0.2


@contextmanager
def alone(home: Path, recipe: str) -> Iterator[None]:
    """The only run that makes what a recipe of this name asks for: two at once would make the same things, and pay for
    the same answers. It says so and waits while another one is at work. A killed run holds nothing.

    Raises:
        EvoError: the state folder cannot be written.
    """
    lock = FileLock(home / SYNTHESIS.format(recipe), timeout=0, poll_interval=LOOK_EVERY_S)
    try:
        home.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            tell(f"another run of '{recipe}' is at work in this home; waiting for it, so that nothing is made twice")
            lock.acquire(timeout=-1)
    except OSError as error:
        raise EvoError(f"state folder '{home}' cannot be written ({error.strerror}); nothing was made") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def retrains_alone(home: Path, name: str) -> Iterator[None]:
    """The only run that retrains a model of this name: two at once would train the same model twice. A killed run holds
    nothing.

    Raises:
        EvoError: another one is at work.
    """
    try:
        with FileLock(home / RETRAINING.format(name), timeout=0):
            yield
    except Timeout:
        raise EvoError(
            f"another run retrains '{name}'; nothing was decided, since both would train the same; wait for it to end"
        ) from None

"""Checkpoints at the root's URL, so that a run that was begun on one machine is gone on with on another."""

from __future__ import annotations

from pathlib import Path

from evoembedding.schemas.places import place_of
from evoembedding.trainer.training.checkpoints import steps_of
from evoembedding.trainer.training.job import CHECKPOINTS, METRICS
from evoembedding.warehouse.root import Root


def publish_checkpoint(root: Root, out: Path) -> None:
    """Publish a run's newest checkpoint with the metrics before it, and remove those that are kept here no more.

    Raises:
        EvoError: the URL cannot be written.
    """
    kept = steps_of(out / CHECKPOINTS)
    # Metrics first: those that go on beyond their checkpoint are cut back to it, and shorter ones are of no use.
    root.publish(out / METRICS)
    root.publish(kept[-1])
    for place in root.places(place_of(out / CHECKPOINTS, root.home)):
        if place.rpartition("/")[2] not in {path.name for path in kept}:
            root.remove(place)


def bring_checkpoints(root: Root, out: Path) -> None:
    """Have a run's newest published checkpoint here, with its metrics, unless what is here has come as far.

    Raises:
        EvoError: the URL cannot be read.
    """
    folder = place_of(out / CHECKPOINTS, root.home)
    published = sorted(root.places(folder))
    here = steps_of(out / CHECKPOINTS)
    if not published or (here and here[-1].name >= published[-1].rpartition("/")[2]):
        return
    # What is here of an earlier stretch of the run does not go with what is brought.
    (out / METRICS).unlink(missing_ok=True)
    root.bring(place_of(out / METRICS, root.home))
    root.bring(published[-1])

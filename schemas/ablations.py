"""What the paper leaves out of the model to see its worth (arXiv 2606.21649, ablations), as changes of a config."""

from __future__ import annotations

from collections.abc import Callable

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.errors import EvoError

# Memory overwritten in place: C latents come out of every pass and push all C older ones off the queue. A segment batch
# would then hold one memory only, so segments are read one at a time.
_ABLATIONS: dict[str, Callable[[TrainConfig], TrainConfig]] = {
    "no-queue": lambda c: _model(c.replace(batch_segments=1), latents=c.model.capacity),
    "no-memory-loss": lambda c: c.replace(memory_loss_weight=0.0),
    "no-length-weight": lambda c: c.replace(length_weight=False),
    "no-segment-batching": lambda c: c.replace(batch_segments=1),
    "no-memory": lambda c: _model(c, memory=False),
}
ABLATIONS = tuple(_ABLATIONS)


def ablated(config: TrainConfig, name: str) -> TrainConfig:
    """The config without what `name` says.

    Raises:
        EvoError: there is no such ablation.
    """
    if name not in _ABLATIONS:
        raise EvoError(f"unknown ablation '{name}'; nothing was trained; the ablations are: {', '.join(ABLATIONS)}")
    return _ABLATIONS[name](config)


def _model(config: TrainConfig, **changes: object) -> TrainConfig:
    return config.replace(model=config.model.replace(**changes))

"""What runs of training, and memories of sessions, are told apart by: what goes in, and the code's version."""

from __future__ import annotations

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.dataset import ShardSet
from evoembedding.schemas.identity import identity
from evoembedding.schemas.ids import content_id

# Raised when code gives other weights or vectors than before: the rule of the queue, losses, the order of draws,
# pooling. What other code gave is then not taken for this one's.
VERSION = 1
EXECUTION = {"checkpoint_every", "zero_stage", "checkpoint_activations"}  # how a run is carried out, not what it gives


def versioned() -> dict[str, int]:
    """What a hash holds beside the inputs. Of the first version nothing: what was made under it keeps its id."""
    return {"code": VERSION} if VERSION > 1 else {}


def training_run_id(shards: ShardSet, config: TrainConfig) -> str:
    """The same shards, config and code give the same run, so that a rerun resumes it, on any ranks and ZeRO stage."""
    settings = identity(config, *EXECUTION)
    return content_id("run", {"shard_set": shards.shard_set_id, "config": settings, **versioned()})

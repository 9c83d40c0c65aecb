"""What a training process needs to know, and the names of what it leaves in its run folder."""

from __future__ import annotations

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.episode import Record

METRICS, CHECKPOINTS, MODEL = "metrics.jsonl", "checkpoints", "model"


class Job(Record):
    """Paths and the config; ranks come from the environment, as DeepSpeed has them."""

    shards: str
    tokenizer: str
    out: str
    rendezvous: str
    master: str = ""  # the first rank's machine, where there are several
    checkpoint: str = ""  # to go on from
    home: str = ""  # the state folder, of which checkpoints are published to `root`
    root: str = ""  # its URL, where other machines find them; empty: nowhere but here
    config: TrainConfig

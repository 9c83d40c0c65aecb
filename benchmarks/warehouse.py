"""The whole way from generated rows to shards, stage by stage: seconds, peak memory, size on disk.

    python benchmarks/warehouse.py [--episodes 184137] [--benchmark locomo10.json]

Simulated dialogues of 21 segments with six questions each, checked, appended, curated, published, tokenised and sharded
in a state folder of its own, which is removed again. 184,137 episodes are what EvoTrain-180K has.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

sys.path.pop(0)  # this folder: its files have names of our packages

from flows.curate import curate
from flows.synthesize import CONTEXTS_A_PARTITION, commit
from schemas.configs import CurationConfig, SimulatorConfig
from synth import simulator
from trainer.text import train_tokenizer
from warehouse.catalog import Warehouse
from warehouse.shards import build_shards
from warehouse.versions import EpisodeFilter, publish, texts_of

EPISODES = 184_137
STATUS = Path("/proc/self/status")


class Stages:
    """Measures stage by stage; `peak` is the highest of all in MiB."""

    def __init__(self, home: Path) -> None:
        self.home, self.seconds, self.peak = home, 0.0, 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Prints what the stage took; memory is the process's peak since the stage began."""
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        peak = int(next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
        self.seconds, self.peak = self.seconds + seconds, max(self.peak, peak)
        self.tell(name, seconds, peak)

    def tell(self, name: str, seconds: float, peak: float) -> None:
        """A row of the table."""
        size = sum(path.stat().st_size for path in self.home.rglob("*") if path.is_file()) / 1e6
        print(f"{name:24} {seconds:8.1f} s {peak:8.0f} MiB peak {size:8.0f} MB on disk", flush=True)


def main() -> None:
    """Run all stages once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--questions", type=int, default=6, help="a context; 1 gives a context for each episode")
    parser.add_argument("--benchmark", action="append", default=[], help="a benchmark to decontaminate against")
    options = parser.parse_args()
    asked = options.questions
    contexts = -(-options.episodes // asked)
    config = SimulatorConfig(contexts=contexts, min_segments=18, max_segments=24, questions_per_context=asked)
    with tempfile.TemporaryDirectory() as folder, Warehouse.open(Path(folder)) as warehouse:
        home, where = Path(folder), EpisodeFilter()
        stages = Stages(home)
        with stages.stage("simulate, check, append"):
            for start in range(0, contexts, CONTEXTS_A_PARTITION):
                commit(warehouse, simulator.simulate(config, start, min(contexts, start + CONTEXTS_A_PARTITION)))
        with stages.stage("curate"), redirect_stderr(None):
            curated = curate(warehouse, CurationConfig(benchmarks=tuple(options.benchmark)), where, "benchmark")
        with stages.stage("publish"):
            kept = where.model_copy(update={"curation": curated.fingerprint})
            version = publish(warehouse, "benchmark", "{}", None, kept, curated.episodes)
        with stages.stage("train tokenizer"):
            tokenizer = train_tokenizer(texts_of(warehouse, version.dataset_id), 1536)
        with stages.stage("tokenise and shard"):
            built = build_shards(warehouse, version, tokenizer, home / "shards")
        stages.tell("all", stages.seconds, stages.peak)
        segments = warehouse.query("SELECT sum(len(segments)) FROM contexts").item()
    print(f"{version.episodes} episodes of {built.rows} contexts with {segments} segments")


if __name__ == "__main__":
    main()

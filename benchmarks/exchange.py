"""Export and import of a dataset version, beside the plain way with `datasets`: seconds, peak memory, size.

    python benchmarks/exchange.py [--episodes 20000] [--format parquet]

Simulated dialogues of 21 segments with one question each, so that every row brings a context of its own. The plain way
takes the rows of `messages` and `meta` from memory through `Dataset.from_generator(...).to_parquet`, and back by
`load_dataset`; it keeps no ids, documents or verdicts and checks nothing. Each step is a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder: its files have names of our packages

from evoembedding.flows.synthesize import A_PARTITION, commit_drafts
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.synth import simulator
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, episodes_of, publish, resolve
from evoembedding.warehouse.exchange.export import export_version
from evoembedding.warehouse.exchange.import_dataset import import_dataset


def make(folder: Path, episodes: int) -> None:
    config = SimulatorConfig(contexts=episodes, min_segments=18, max_segments=24, questions_per_context=1)
    with Warehouse.open(folder / "here") as warehouse:
        for start in range(0, episodes, A_PARTITION["seeds"]):
            commit_drafts(warehouse, simulator.simulate(config, start, min(episodes, start + A_PARTITION["seeds"])))
        publish(warehouse, "simulated", "{}", None, EpisodeFilter())


def exported(folder: Path, form: Any) -> None:
    with Warehouse.open(folder / "here") as warehouse:
        export_version(warehouse, resolve(warehouse, "simulated"), folder / "out", form)


def imported(folder: Path) -> None:
    with Warehouse.open(folder / "there") as warehouse:
        done = import_dataset(warehouse, "simulated", str(folder / "out"), None)
    with Warehouse.open(folder / "here") as warehouse:
        assert done.version.digest == resolve(warehouse, "simulated").digest


def plain_export(folder: Path) -> None:
    from datasets import Dataset

    with Warehouse.open(folder / "here") as warehouse:
        episodes = episodes_of(warehouse, resolve(warehouse, "simulated").dataset_id)
        contexts = dict(warehouse.query("SELECT context_id, segments FROM contexts").iter_rows())

    def rows() -> Iterator[dict[str, Any]]:
        for episode in episodes.iter_rows(named=True):
            said = [(s["user"], s["assistant"]) for s in contexts[episode["context_id"]]]
            turns = [f"User: {user}\nAssistant: {assistant}".rstrip() for user, assistant in said]
            texts = [text for pair in [*said, (episode["question"], episode["answer"])] for text in pair]
            yield {
                "messages": [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(texts)],
                "meta": {"turns": [*turns, episode["question"]], "evidence_turns": episode["evidence"]},
            }

    made = Dataset.from_generator(rows, cache_dir=str(folder / "cache"))
    made.to_parquet(str(folder / "plain" / "train.parquet"))


def plain_import(folder: Path) -> None:
    from datasets import load_dataset

    load_dataset("parquet", data_files=str(folder / "plain" / "train.parquet"), cache_dir=str(folder / "cache"))


def step(name: str, folder: Path, where: str, work: Callable[..., None], *arguments: Any) -> None:
    """Run in a new process, and print what it took."""
    context = multiprocessing.get_context("fork")  # this process has started no thread
    sent, got = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(got, work, folder, *arguments))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{name} failed")
    seconds, peak = sent.recv()
    size = sum(path.stat().st_size for path in (folder / where).rglob("*") if path.is_file()) / 1e6
    print(f"{name:32} {seconds:8.1f} s {peak:8.0f} MiB peak {size:8.1f} MB", flush=True)


def _measured(pipe: Any, work: Callable[..., None], *arguments: Any) -> None:
    began = time.perf_counter()
    work(*arguments)
    pipe.send((time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    """Run all steps once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20_000)
    parser.add_argument("--format", choices=["parquet", "jsonl"], default="parquet")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step("simulate, check, publish", folder, "here", make, options.episodes)
        step("evo dataset export", folder, "out", exported, options.format)
        step("evo dataset import", folder, "there", imported)
        step("from_generator, to_parquet", folder, "plain", plain_export)
        step("load_dataset", folder, "cache", plain_import)


if __name__ == "__main__":
    main()

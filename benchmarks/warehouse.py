"""The whole way from generated rows to shards, stage by stage, and each stage beside the plain way.

    python benchmarks/warehouse.py [--episodes 184137] [--questions 1] [--benchmark locomo10.json] [--plain 5000]

Simulated dialogues of 21 segments, a context for each episode unless `--questions` says otherwise, are checked,
appended, curated, published, tokenised and sharded in a state folder of its own, which is removed again; 184,137
episodes are what EvoTrain-180K has. First both ways run on `--plain` contexts: ours, and Python loops and `datasets`
over the same rows. Then ours alone runs on all of them. Memory is the process's peak during a stage.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder: its files have names of our packages

import datasets
import polars as pl
from rensa import RMinHash, RMinHashLSH

from evoembedding.flows.build_dataset import TOKENIZER_CONTEXTS
from evoembedding.flows.curate import curate
from evoembedding.flows.synthesize import A_PARTITION, commit_drafts
from evoembedding.schemas.configs import CurationConfig, SimulatorConfig, TrainConfig
from evoembedding.schemas.episode import Draft, Segment
from evoembedding.synth import simulator
from evoembedding.synth.curation.decontaminate import Benchmarks, _files, _texts  # noqa: F401
from evoembedding.synth.text import normalise
from evoembedding.trainer.model.batches import Schedule, dealt
from evoembedding.trainer.model.packing import cut
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer, train_tokenizer
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish, texts_of
from evoembedding.warehouse.shards.shard_sets import build_shards, read_manifest

EPISODES = 184_137
STATUS = Path("/proc/self/status")
CURATION = CurationConfig()
VOCABULARY = 1536
# Of the demo's recipe: contexts a step, and memory tokens a step.
BATCH, BUDGET = 8, 8192


class Stages:
    """Seconds, and the peak of memory in MiB, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts what runs inside to a stage; one that is entered again adds up."""
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - began
        peak = int(next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
        self.peak[name] = max(self.peak.get(name, 0), peak)


def configured(contexts: int, questions: int) -> SimulatorConfig:
    return SimulatorConfig(contexts=contexts, min_segments=18, max_segments=24, questions_per_context=questions)


def ours(home: Path, config: SimulatorConfig, benchmarks: list[str], stages: Stages) -> Path:
    """All stages in a new state folder; where the shards are."""
    where = EpisodeFilter()
    with Warehouse.open(home) as warehouse, Path("/dev/null").open("w") as nowhere, redirect_stderr(nowhere):
        for start in range(0, config.contexts, A_PARTITION["seeds"]):
            with stages.stage("generate"):
                drafts = list(simulator.simulate(config, start, min(config.contexts, start + A_PARTITION["seeds"])))
            with stages.stage("check and append"):
                commit_drafts(warehouse, drafts)
        with stages.stage("near-duplicates"):
            curate(warehouse, CURATION, where, "near")
        with stages.stage("benchmark texts"):
            leaks = CurationConfig(near_duplicate=None, benchmarks=tuple(benchmarks))
            curated = curate(warehouse, leaks, where, "leaks")
        with stages.stage("publish"):
            kept = where.replace(curation=curated.fingerprint)
            version = publish(warehouse, "benchmark", "{}", None, kept, curated.episodes)
        with stages.stage("train tokenizer"):
            tokenizer = train_tokenizer(texts_of(warehouse, version.dataset_id, TOKENIZER_CONTEXTS), VOCABULARY)
        with stages.stage("tokenise and shard"):
            built = build_shards(warehouse, version, tokenizer, home / "shards")
        tokenizer.save(home / "tokenizer")
    return home / built.place


def plain(home: Path, drafts: list[Draft], benchmarks: list[str], stages: Stages) -> None:
    """The same work on the same rows by Python loops and `datasets`."""
    tokenizer = EvoTokenizer.load(home / "tokenizer")
    with stages.stage("check and append"):
        rows = [_row(draft) for draft in drafts]
        table = datasets.Dataset.from_list(rows)
        table.save_to_disk(home / "plain")
    with stages.stage("near-duplicates"):
        lsh, kept = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16), list[RMinHash]()
        for row in table:
            sketch = RMinHash(num_perm=128, seed=42)
            sketch.update(list(_shingles("\n".join(row["segments"]), CURATION.shingle_words)))
            if not any(sketch.jaccard(kept[i]) >= 0.8 for i in lsh.query(sketch)):
                lsh.insert(len(kept), sketch)
                kept.append(sketch)
    with stages.stage("benchmark texts"):
        held: set[str] = set()
        for text in (t for path in benchmarks for file in _files(Path(path)) for t in _texts(file)):
            held |= _shingles(text, CURATION.overlap_words)
        table = table.filter(lambda r: not held & _shingles("\n".join(r["segments"]), CURATION.overlap_words))
    with stages.stage("publish"):
        table.save_to_disk(home / "version")
    with stages.stage("train tokenizer"):
        train_tokenizer((text for row in table for text in (*row["segments"], row["question"])), VOCABULARY)
    with stages.stage("tokenise and shard"):
        tokenised = table.map(_tokenised, fn_kwargs={"tokenizer": tokenizer}, batched=True, batch_size=500)
        for number, start in enumerate(range(0, len(tokenised), 1000)):
            chosen = tokenised.sort("tokens").select(range(start, min(len(tokenised), start + 1000)))
            chosen.to_parquet(home / "plain" / f"shard-{number}.parquet")


def _row(draft: Draft) -> dict[str, Any]:
    question, evidence = draft.questions[0], draft.evidence[0]
    return {
        "segments": [segment.text for segment in draft.context.segments],
        "turns": [segment.model_dump() for segment in draft.context.segments],
        "question": question.text,
        "answer": question.answer,
        "evidence": list(evidence.indices),
    }


def _shingles(text: str, words: int) -> set[str]:
    found = normalise(text).split()
    return {" ".join(found[i : i + words]) for i in range(max(1, len(found) - words + 1))}


def _tokenised(rows: dict[str, list[Any]], tokenizer: EvoTokenizer) -> dict[str, list[Any]]:
    memory = [tokenizer.memory([Segment(**turn) for turn in turns]) for turns in rows["turns"]]
    return {
        "memory_tokens": memory,
        "retriever_tokens": [tokenizer.retriever([Segment(**turn) for turn in turns]) for turns in rows["turns"]],
        "query_tokens": tokenizer.queries(rows["question"]),
        "answer_tokens": [answer for *_, answer in tokenizer.answers(rows["question"], rows["answer"])],
        "tokens": [sum(map(len, segments)) for segments in memory],
    }


def padding(shards: Path, ranks: int = 8) -> None:
    """Padding of batches cut from the shards and of random ones, and how far ranks differ in an epoch's tokens."""
    files = [shards / file.name for file in read_manifest(shards).files]
    lengths = pl.concat([pl.read_parquet(file, columns=["tokens"]) for file in files])["tokens"].to_list()
    shuffled = random.Random(0).sample(lengths, len(lengths))
    for name, rows in (("cut from shards", lengths), ("random", shuffled)):
        batches = [[rows[i] for i in batch] for batch in cut(rows, BATCH, BUDGET)]
        share = 1 - sum(rows) / sum(max(batch) * len(batch) for batch in batches)
        schedule = Schedule(rows, TrainConfig(batch_episodes=BATCH, token_budget=BUDGET, batches_per_step=ranks))
        steps = [schedule.batches(step) for step in range(schedule.steps_per_epoch)]
        read = [
            sum(rows[row] for step in steps for batch in dealt(ranks, rank, ranks) for row in step[batch])
            for rank in range(ranks)
        ]
        differ = (max(read) - min(read)) / min(read)
        print(
            f"batches {name:16} {share:.2%} of tokens are padding, {len(batches)} batches; {ranks} ranks differ by "
            f"{differ:.2%} of an epoch's tokens"
        )


def main() -> None:
    """Both ways on some contexts, ours on all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--questions", type=int, default=1, help="a context; the more, the fewer contexts")
    parser.add_argument("--benchmark", action="append", default=[], help="a benchmark to decontaminate against")
    parser.add_argument("--plain", type=int, default=5000, help="contexts that both ways run on; 0: neither")
    options = parser.parse_args()
    datasets.disable_progress_bars()
    if options.plain:
        with tempfile.TemporaryDirectory() as folder:
            config, mine, theirs = configured(options.plain, 1), Stages(), Stages()
            ours(Path(folder), config, options.benchmark, mine)
            plain(Path(folder), list(simulator.simulate(config)), options.benchmark, theirs)
        print(f"{options.plain} contexts            ours   plain  ratio       ours     plain")
        for name, seconds in theirs.seconds.items():
            told = f"{mine.seconds[name]:6.1f} s {seconds:6.1f} s {seconds / mine.seconds[name]:5.1f}x"
            print(f"{name:20} {told} {mine.peak[name]:6.0f} MiB {theirs.peak[name]:6.0f} MiB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home, stages = Path(folder), Stages()
        contexts = -(-options.episodes // options.questions)
        shards = ours(home, configured(contexts, options.questions), options.benchmark, stages)
        print(f"\n{contexts} contexts, {options.episodes} episodes")
        for name, seconds in stages.seconds.items():
            print(f"{name:20} {seconds:8.1f} s {stages.peak[name]:6.0f} MiB")
        from_rows = sum(stages.seconds.values()) - stages.seconds["generate"]
        size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) / 1e6
        print(
            f"{'from rows to shards':20} {from_rows:8.1f} s {max(stages.peak.values()):6.0f} MiB; {size:.0f} MB on disk"
        )
        padding(shards)


if __name__ == "__main__":
    main()

"""A training step of the model, way by way: one segment at a time, as plain code has it, up to everything we do.

    python benchmarks/training.py                               # tiny, latents as in the paper
    python benchmarks/training.py --backbone FOLDER --lora 8    # a Hugging Face decoder with two LoRA adapters
    python benchmarks/training.py --backbone FOLDER --device cuda --precision bfloat16 --peak-tflops 989

Episodes of 21 segments and 1.3K tokens with one question (EvoTrain's means; token ids are random). For the memory pass,
the retriever pass and the whole step, forward and backward: seconds an episode, tokens pushed through the backbone (of
which time would follow if all tokens cost alike), and peak memory of the process. Every way is a process of its own,
taken in turn `--rounds` times; medians. `--peak-tflops` of the device adds the share of them that a step makes use of
(MFU): 6 operations a weight and token, 4 where the backbone is frozen; attention is not counted. `--logits` adds the
authors' way, which computes vocabulary logits of every token of every pass and throws them away.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder: its files have names of our packages

import torch
from torch import Tensor
from torch.nn import functional as F

from evoembedding.schemas.configs import ModelConfig, TrainConfig
from evoembedding.trainer.backbones.decoder import Backbone, Keys
from evoembedding.trainer.model.batches import Batch, collate
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model.packing import Pieces

SEGMENTS, TOKENS, QUESTION, ANSWER = 21, 62, 24, 6
WAYS = ("one segment at a time", "+ segment-batching", "+ packed retriever", "+ several episodes a step")
LOGITS = "one at a time, logits of every token"
PARTS = ("memory pass", "retriever pass", "whole step")


class Plain(EvoModel):
    """Retriever passes apart: the segments of a segment batch as padded rows, each with the memory in front."""

    def embed(self, history: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        segments = self.embed_segments(history, batch.segments)
        return segments, self.embed_queries(history, batch.totals, batch.queries)

    def embed_segments(self, history: Tensor, pieces: Pieces, first: int = 0) -> Tensor:
        K, C, n = self.latents, self.capacity, self.config.batch_segments
        out = []
        for start in range(0, pieces.lengths.shape[1], n):
            rows = []
            for t in range(start, min(start + n, pieces.lengths.shape[1])):
                tokens = self._embed(pieces.ids[:, t, : int(pieces.lengths[0, t])])
                rows.append(torch.cat([self.latent_projection(history[:, max(0, t * K - C) : t * K]), tokens], dim=1))
            out.append(self._last(rows))
        return torch.cat(out)[None]

    def embed_queries(self, history: Tensor, totals: Tensor, pieces: Pieces, keys: Keys | None = None) -> Tensor:
        latents = self.latent_projection(history[:, -self.capacity :])
        return self._last([torch.cat([latents, self._embed(pieces.ids[:, 0])], dim=1)])[None]

    def _last(self, rows: list[Tensor]) -> Tensor:
        width = max(row.shape[1] for row in rows)
        gaps = torch.tensor([width - row.shape[1] for row in rows])
        inputs = torch.cat([F.pad(row, (0, 0, width - row.shape[1], 0)) for row in rows])
        s = torch.arange(width)
        mask = (s[None, :] <= s[:, None]) & (s[None, None, :] >= gaps[:, None, None]) | torch.eye(
            width, dtype=torch.bool
        )
        positions = (s - gaps[:, None]).clamp(min=0)
        hidden = self.backbone.hidden(inputs, positions, mask[:, None] if gaps.any() else None, "retriever")
        return F.normalize(self.embedding_projection(self._project(hidden[:, -1])), dim=-1)


class Counted(Backbone):
    """A backbone that counts its tokens, padding included, and on wish computes logits that nobody asked for."""

    tokens: int
    logits_too: bool

    def hidden(self, inputs: Tensor, *rest: Any) -> Tensor:
        self.tokens += inputs.shape[0] * inputs.shape[1]
        out = super().hidden(inputs, *rest)
        if self.logits_too:
            self.logits(out)
        return out

    def keys(self, inputs: Tensor, *rest: Any) -> Keys:
        self.tokens += inputs.shape[0] * inputs.shape[1]
        return super().keys(inputs, *rest)


def episode(seed: int, vocabulary: int) -> dict[str, Any]:
    """A shard row."""
    draw = random.Random(seed)

    def tokens(n: int) -> list[int]:
        return [draw.randrange(10, vocabulary) for _ in range(n)]

    lengths = [draw.randint(TOKENS // 2, TOKENS * 3 // 2) for _ in range(SEGMENTS)]
    question = {
        "episode_id": f"ep-{seed}",
        "query_tokens": tokens(QUESTION),
        "answer_before": tokens(3),
        "answer_after": tokens(QUESTION),
        "answer_tokens": tokens(ANSWER),
        "evidence": [draw.randrange(SEGMENTS)],
    }
    return {
        "context_id": f"ctx-{seed}",
        "segments": SEGMENTS,
        "tokens": sum(lengths),
        "memory_tokens": [tokens(n) for n in lengths],
        "retriever_tokens": [tokens(n) for n in lengths],
        "questions": [question],
    }


def make(way: str, options: argparse.Namespace) -> EvoModel:
    tiny = options.backbone == "tiny"
    model = ModelConfig(
        backbone=options.backbone,
        latents=options.latents,
        capacity=options.capacity,
        embedding=96 if tiny else 1024,
        lora_rank=options.lora,
        lora_dropout=0.0,
    )
    alone = way in (WAYS[0], LOGITS)
    config = TrainConfig(model=model, batch_segments=1 if alone else 16, precision=options.precision)
    torch.manual_seed(0)
    made = (EvoModel if way in WAYS[2:] else Plain)(config, model.vocabulary)
    made.backbone.__class__ = Counted
    made.backbone.tokens, made.backbone.logits_too = 0, way == LOGITS
    return made.to(options.device)


def passes(model: EvoModel, batch: Batch) -> dict[str, Callable[[], Any]]:
    with torch.no_grad():
        history = model.read(batch.memory)

    def retriever() -> None:
        segments, queries = model.embed(history, batch)
        (segments.sum() + queries.sum()).backward()

    return {
        "memory pass": lambda: model.read(batch.memory).sum().backward(),
        "retriever pass": retriever,
        "whole step": lambda: model(batch).total.backward(),
    }


def measure(way: str, part: str, options: argparse.Namespace) -> None:
    """One process: print seconds and tokens an episode, and peak MiB."""
    model = make(way, options)
    many = options.episodes if way == WAYS[3] else 1
    rows = [episode(n, model.backbone.vocabulary) for n in range(options.episodes)]
    batches = [collate(rows[n : n + many]).to(options.device) for n in range(0, len(rows), many)]
    runs = [passes(model, batch)[part] for batch in batches]
    accelerator = torch.accelerator if torch.device(options.device).type != "cpu" else None
    for run in islice(cycle(runs), options.warm):
        run()
    if accelerator:
        accelerator.synchronize()
        accelerator.reset_peak_memory_stats()
    model.backbone.tokens = 0
    start = time.perf_counter()
    for _ in range(options.repeats):
        for run in runs:
            run()
    if accelerator:
        accelerator.synchronize()
    count = options.repeats * len(rows)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if accelerator:
        peak = accelerator.max_memory_allocated() / 2**20
    weights = sum(p.numel() for p in model.backbone.causal.get_decoder().layers.parameters())
    operations = (4 if model.backbone.adapters else 6) * weights * model.backbone.tokens
    found = {"seconds": seconds / count, "tokens": model.backbone.tokens / count, "peak": peak}
    print(json.dumps({**found, "tflops": operations / seconds / 1e12}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tiny", help="tiny, or a Hugging Face folder")
    parser.add_argument("--latents", type=int, default=16, help="K")
    parser.add_argument("--capacity", type=int, default=512, help="C")
    parser.add_argument("--lora", type=int, default=8, help="rank")
    parser.add_argument("--episodes", type=int, default=8, help="read by every way; by the last in one step")
    parser.add_argument("--repeats", type=int, default=2, help="times that a process reads them")
    parser.add_argument("--warm", type=int, default=1, help="untimed passes before")
    parser.add_argument("--rounds", type=int, default=3, help="processes for each way and part")
    parser.add_argument("--logits", action="store_true", help="also the way that computes all logits")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--peak-tflops", type=float, help="of the device in that precision; shows MFU")
    parser.add_argument("--json", action="store_true", help="one row a way and part")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(*options.one, options)
        return
    ways = (LOGITS, *WAYS) if options.logits else WAYS
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for part in PARTS:
            for way in ways:
                command = [sys.executable, str(Path(__file__)), *sys.argv[1:], "--one", way, part]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found.setdefault((part, way), []).append(json.loads(out.splitlines()[-1]))
    rows = [
        {"part": part, "way": way} | {key: statistics.median(one[key] for one in many) for key in many[0]}
        for (part, way), many in found.items()
    ]
    if options.json:
        print(*map(json.dumps, rows), sep="\n")
        return
    print(
        f"{options.backbone}: K {options.latents}, C {options.capacity}; episodes of {SEGMENTS} segments and about "
        f"{SEGMENTS * TOKENS:,} tokens, {options.episodes} a step in the last way; {options.device}, "
        f"{options.precision}, {torch.get_num_threads()} threads"
    )
    peak, columns = options.peak_tflops, ("s/episode", "gain", "tokens", "foretold", "tokens/s", "peak MiB")
    print(f"{'':52}" + "".join(f"{name:>11}" for name in (*columns, *(["MFU"] if peak else []))))
    for row in rows:
        first = next(r for r in rows if r["part"] == row["part"] and r["way"] == ways[0])
        print(
            f"{row['part']:15} {row['way']:36} {row['seconds']:10.3f} {first['seconds'] / row['seconds']:9.2f}x "
            f"{row['tokens']:10,.0f} {first['tokens'] / row['tokens']:9.2f}x {row['tokens'] / row['seconds']:10,.0f} "
            f"{row['peak']:10,.0f}" + (f" {100 * row['tflops'] / peak:9.1f}%" if peak else "")
        )


if __name__ == "__main__":
    main()

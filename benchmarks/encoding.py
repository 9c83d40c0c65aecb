"""What memory costs: encoding a context and a query, beside the same backbone used as a static model.

    python benchmarks/encoding.py                                      # tiny, with the paper's memory and with its own
    python benchmarks/encoding.py --backbone FOLDER_OR_ID --peak 256   # a decoder with fresh adapters

A context of simulated dialogue is cut into segments of so many retriever tokens. Ours reads it into a session and asks
the query with the memory that this gives; the first query after reading also computes what all of them share. The
static way is `encode` of the same weights: each segment alone, without memory, 32 of like length in a forward. Both run
in turn, after a short run of each that does not count; figures are medians. `tokens` is all that goes through the
decoder, latents and padding included; their ratio is what the times should come to if every token cost the same.
Weights are random: they do not change what a pass costs.

Peak memory is that of a process which streams so many segments and keeps no vectors, less what it had when the model
was there; each size is a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder: its files have names of our packages

import torch

from evoembedding.schemas.configs import ModelConfig, SimulatorConfig, TrainConfig
from evoembedding.schemas.episode import Segment
from evoembedding.synth.simulator import simulate
from evoembedding.trainer.embedder import EvoEmbedder
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer, load_tokenizer, train_tokenizer

PAPER = (16, 512)  # K and C of arXiv 2606.21649
TINY = (ModelConfig().latents, ModelConfig().capacity)
EMBEDDING = 1024  # E of the paper; `tiny` has its own
QUERY = "Where did I say that my sister lives now, after she moved for the second time?"
QUERIES_A_ROUND = 5


class Counted:
    """Tokens that have gone through a model's decoder."""

    def __init__(self, embedder: EvoEmbedder) -> None:
        self.tokens = 0
        causal = embedder.model.backbone.causal
        plain = causal.get_base_model() if embedder.model.backbone.adapters else causal
        plain.get_decoder().register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _: Any, __: Any, given: dict[str, Any]) -> None:
        self.tokens += given["inputs_embeds"].shape[:2].numel()


def texts() -> list[str]:
    """Simulated dialogue, always the same."""
    return [s.text for draft in simulate(SimulatorConfig(contexts=200)) for s in draft.context.segments]


def fresh(backbone: str, latents: int, capacity: int) -> EvoEmbedder:
    """A model with random weights."""
    torch.manual_seed(0)
    tiny = backbone == "tiny"
    tokenizer = train_tokenizer(texts(), ModelConfig().vocabulary) if tiny else load_tokenizer(backbone)
    embedding = ModelConfig().embedding if tiny else EMBEDDING
    config = ModelConfig(backbone=backbone, latents=latents, capacity=capacity, embedding=embedding)
    return EvoEmbedder(EvoModel(TrainConfig(model=config), tokenizer.vocabulary).eval(), tokenizer)


def segments(tokenizer: EvoTokenizer, tokens: int) -> Iterator[Segment]:
    """Segments of about so many retriever tokens, without end."""
    frame = len(tokenizer.retriever([Segment(user="")])[0])
    for text in cycle(["\n".join(texts())]):
        ids = tokenizer.tokenizer.encode(text, add_special_tokens=False)
        for start in range(0, len(ids) - tokens, tokens - frame):
            yield Segment(user=tokenizer.tokenizer.decode(ids[start : start + tokens - frame]))


def timed(work: Callable[..., Any], *given: Any, **options: Any) -> float:
    """Seconds of a call."""
    began = time.perf_counter()
    work(*given, **options)
    return time.perf_counter() - began


def beside(embedder: EvoEmbedder, tokens: int, count: int, rounds: int) -> None:
    """Both ways in turn on one context; a line for the context and two for a query."""
    context = list(islice(segments(embedder.tokenizer, tokens), count))
    mean = statistics.mean(map(len, embedder.tokenizer.retriever(context)))
    counted = Counted(embedder)
    spent: dict[str, list[float]] = defaultdict(list)
    passed: dict[str, int] = {}
    embedder.session().append(context[:20])
    embedder.encode(context[:20])
    for _ in range(rounds):
        session = embedder.session()
        counted.tokens = 0
        spent["static"].append(timed(embedder.encode, context))
        passed["static"], counted.tokens = counted.tokens, 0
        spent["ours"].append(timed(session.append, context))
        passed["ours"] = counted.tokens
        spent["first query"].append(timed(session.query, QUERY))
        for _ in range(QUERIES_A_ROUND):
            spent["static query"].append(timed(embedder.encode, QUERY, prompt_name="query"))
            spent["next query"].append(timed(session.query, QUERY))
    found = {name: statistics.median(seconds) for name, seconds in spent.items()}
    first, following, alone = (1000 * found[f"{which} query"] for which in ("first", "next", "static"))
    print(
        f"  {count} segments of {mean:.0f} tokens: ours {found['ours']:.2f} s, static {found['static']:.2f} s, "
        f"{found['ours'] / found['static']:.2f}x; tokens {passed['ours']:,} and {passed['static']:,}, "
        f"{passed['ours'] / passed['static']:.2f}x\n"
        f"  a query then: ours {following:.1f} ms, static {alone:.1f} ms, {following / alone:.2f}x; "
        f"the first after reading {first:.1f} ms, {first / alone:.2f}x",
        flush=True,
    )


def peak_mib() -> float:
    """The most memory this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def stream(backbone: str, latents: int, capacity: int, tokens: int, count: int) -> None:
    """Stream segments, in this process, and print its peak."""
    ours = fresh(backbone, latents, capacity)
    source = islice(segments(ours.tokenizer, tokens), count)
    ours.encode("warm")
    before = peak_mib()
    session = ours.session(keep_vectors=False)
    for _ in session.stream(source):
        pass
    session.query(QUERY)
    print(f"  {count} segments streamed: peak {peak_mib():.0f} MiB, of which {peak_mib() - before:.0f} MiB by reading")


def main() -> None:
    """Times of each memory and length, then peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tiny", help="`tiny`, a Hugging Face folder, or an id")
    parser.add_argument("--memory", nargs=2, type=int, metavar=("K", "C"), help="latents a segment, queue capacity")
    parser.add_argument("--tokens", nargs="+", type=int, default=[60, 200], help="lengths of segments")
    parser.add_argument("--segments", type=int, default=256, help="in a context")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", nargs="*", type=int, default=[256, 1024, 4096], help="segments to stream; none: skip")
    parser.add_argument("--stream", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stream:
        stream(options.backbone, *options.memory, options.tokens[0], options.stream)
        return
    memories = [tuple(options.memory)] if options.memory else [PAPER, TINY] if options.backbone == "tiny" else [PAPER]
    for latents, capacity in memories:
        print(
            f"{options.backbone}, K {latents}, C {capacity}, {torch.get_num_threads()} threads, "
            f"medians of {options.rounds}",
            flush=True,
        )
        embedder = fresh(options.backbone, latents, capacity)
        for tokens in options.tokens:
            beside(embedder, tokens, options.segments, options.rounds)
        for count in options.peak:
            own = ["--backbone", options.backbone, "--memory", str(latents), str(capacity), "--stream", str(count)]
            tokens = ["--tokens", str(options.tokens[0])]
            subprocess.run([sys.executable, str(Path(__file__)), *own, *tokens], check=True)


if __name__ == "__main__":
    main()

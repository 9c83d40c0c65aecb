"""Trained on contexts of at most 32 segments, asked about 320: Recall@k, and its curve over the evidence's distance.

    python benchmarks/length.py [--steps 900] [--plot docs/pictures/length.svg]
    python benchmarks/length.py --model FOLDER --k 1     # a trained model again, by another measure

The demo's recipe with dialogues of 14 to 32 segments. Distance is the number of segments between a question and the
last of its evidence. Beside the model: itself with its memory off, BM25 with stemming, and chance.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.pop(0)  # this folder: its files have names of our packages

import polars as pl

from evoembedding.evaluation.baselines import baselines
from evoembedding.evaluation.benchmarks.heldout import from_drafts
from evoembedding.evaluation.metrics import recall
from evoembedding.evaluation.score import TIES
from evoembedding.flows.commands.demo import EXAMPLES
from evoembedding.flows.pipeline import pipeline
from evoembedding.flows.recipes import demo, seeded
from evoembedding.flows.report.charts import lines
from evoembedding.retrieval.ranking import rank
from evoembedding.schemas.benchmark import Conversation, Encoder
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.home import home
from evoembedding.synth.simulator import simulate
from evoembedding.trainer.embedder import EvoEmbedder

TRAINED = 32
STYLE = (
    "text{font:11px sans-serif;fill:#333}.grid{stroke:#ddd}.line{fill:none;stroke-width:2}"
    ".s0.line{stroke:#0a5fae}.s1.line{stroke:#b84a00}.s2.line{stroke:#00796b}.s3.line{stroke:#8f99a7}"
    "text.s0{fill:#0a5fae}text.s1{fill:#b84a00}text.s2{fill:#00796b}text.s3{fill:#8f99a7}"
)


def held_out(segments: int, contexts: int) -> tuple[Conversation, ...]:
    config = SimulatorConfig(
        contexts=contexts,
        min_segments=segments,
        max_segments=segments,
        questions_per_context=40 if segments > TRAINED else 6,
        split="heldout",
        seed=1,
    )
    return from_drafts(simulate(config))


def recalls(encoder: Encoder, conversations: Sequence[Conversation], k: int) -> pl.DataFrame:
    """distance and Recall@k of each query."""
    rows = []
    for conversation in conversations:
        scores = encoder.score(conversation.segments, [query.text for query in conversation.queries])
        for query, of_query in zip(conversation.queries, scores, strict=True):
            distance = len(conversation.segments) - 1 - max(query.gold)
            rows.append((distance, recall(rank(of_query, seed=TIES), query.gold, k)))
    return pl.DataFrame(rows, schema=["distance", "recall"], orient="row")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help="training steps (the demo's by default)")
    parser.add_argument("--model", type=Path, help="a model folder, in place of training one")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--segments", type=int, default=320)
    parser.add_argument("--contexts", type=int, default=20)
    parser.add_argument("--bin", type=int, default=32, help="segments of distance in a point of the curve")
    parser.add_argument("--plot", type=Path, help="write the curve as SVG")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    k = options.k
    folder = options.model
    if folder is None:
        base = seeded(demo(), "length", 0, options.steps)
        longer = base.simulator.replace(max_segments=TRAINED)
        recipe = base.replace(simulator=longer)
        folder = Path(pipeline(home() / "length", recipe, str(EXAMPLES / "peps.parquet")).path)
    systems: list[Encoder] = [EvoEmbedder.load(folder), EvoEmbedder.load(folder, memory=False)]
    systems += [baseline for baseline in baselines() if baseline.name.startswith("BM25")]
    short, long = held_out(TRAINED, 60), held_out(options.segments, options.contexts)
    found = {s.name: (float(recalls(s, short, k)["recall"].mean()), recalls(s, long, k)) for s in systems}  # type: ignore[arg-type]
    curves = {name: _curve(frame, options.bin) for name, (_, frame) in found.items()}
    chance = k / options.segments
    if options.plot:
        short_names = {n: n.removeprefix("EvoEmbedding, ").removesuffix(" with stemming") for n in curves}
        drawn = {short_names[n]: [(d, 100 * r) for d, r, _ in c] for n, c in curves.items()}
        ends = [point[0] for point in next(iter(curves.values()))]
        told = f"Recall@{k} in percent over evidence distance in segments, contexts of {options.segments}"
        picture = str(lines({**drawn, "chance": [(d, 100 * chance) for d in ends]}, told))  # not Markup, which escapes
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        options.plot.write_text(
            picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
                ">", f"><style>{STYLE}</style>", 1
            )
        )
    if options.json:
        print(json.dumps({name: {"short": short, "curve": curves[name]} for name, (short, _) in found.items()}))
        return
    print(
        f"Recall@{k} (%): contexts of {TRAINED} segments, of {options.segments}, and these by distance to the evidence"
    )
    points = next(iter(curves.values()))
    print(f"{'':28} {TRAINED:>6} {options.segments:>6} | " + " ".join(f"{d:>5.0f}" for d, _, _ in points))
    for name, (of_short, frame) in found.items():
        shown = " ".join(f"{100 * r:5.1f}" for _, r, _ in curves[name])
        print(f"{name:28} {100 * of_short:6.1f} {100 * frame['recall'].mean():6.1f} | {shown}")  # type: ignore[operator]
    print(f"{'chance':28} {100 * k / TRAINED:6.1f} {100 * chance:6.1f} |")
    print(f"{'questions':28} {'':6} {len(frame):6} | " + " ".join(f"{n:5}" for _, _, n in points))


def _curve(frame: pl.DataFrame, width: int) -> list[tuple[float, float, int]]:
    """(middle of the bin, mean recall, questions), by distance."""
    bins = (
        frame.group_by(pl.col("distance") // width).agg(pl.col("recall").mean(), pl.len().alias("n")).sort("distance")
    )
    return [((row[0] + 0.5) * width, row[1], row[2]) for row in bins.iter_rows()]


if __name__ == "__main__":
    main()

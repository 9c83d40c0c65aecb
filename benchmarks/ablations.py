"""What each part of the model is worth: trained without it, on held-out simulated dialogues, over several seeds.

    python benchmarks/ablations.py --seeds 3 --steps 300
    python benchmarks/ablations.py --steps 900 --only no-queue   # the demo's length, one ablation

As in the paper's ablations, with Recall@1 in place of generation accuracy. Each seed has its own simulated worlds,
initial weights and batches; all variants of a seed train on the same dataset version. The held-out worlds share no
fillers and no paraphrases with training. A rerun goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict

sys.path.pop(0)  # this folder: its files have names of our packages

import polars as pl

from evoembedding.evaluation.benchmarks.heldout import from_drafts
from evoembedding.evaluation.score import score
from evoembedding.flows.build_dataset import build_dataset
from evoembedding.flows.commands.demo import EXAMPLES
from evoembedding.flows.evaluate import model_of
from evoembedding.flows.ingest import ingest
from evoembedding.flows.recipes import demo, seeded
from evoembedding.flows.synthesize import synthesize
from evoembedding.flows.train import train
from evoembedding.schemas.ablations import ABLATIONS, ablated
from evoembedding.schemas.home import home
from evoembedding.schemas.places import resolve
from evoembedding.synth.simulator import simulate, simulators
from evoembedding.synth.taxonomy import STATE_TYPES
from evoembedding.trainer.embedder import EvoEmbedder
from evoembedding.warehouse.catalog import Warehouse

FULL = "full model"


def run(seed: int, steps: int, names: list[str]) -> dict[str, tuple[float, float, float]]:
    """Variant -> Recall@1 (%) on state questions and on all, and training seconds."""
    state, recipe = home() / "ablations", seeded(demo(), f"ablations-{seed}", seed, steps)
    ingest(str(EXAMPLES / "peps.parquet"), create_home=True, home=state)
    synthesize(recipe, home=state)
    built = build_dataset(recipe, home=state)
    conversations = from_drafts(simulate(simulators(recipe)[1]))
    found = {}
    for name in (FULL, *names):
        config = recipe.train if name == FULL else ablated(recipe.train, name)
        trained = train(built["dataset"], recipe.replace(train=config), home=state)
        with Warehouse.open(state, read_only=True) as warehouse:
            model = model_of(warehouse, trained["model"])
            took = warehouse.query(
                "SELECT seconds FROM lake.training_runs WHERE training_run_id = ?", (model.training_run_id,)
            ).item()
        frame = score(EvoEmbedder.load(resolve(model.place, state)), conversations)
        of_state = frame.filter(pl.col("question_type").is_in(STATE_TYPES))
        found[name] = (100 * of_state["Recall@1"].mean(), 100 * frame["Recall@1"].mean(), took)  # type: ignore[operator]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", nargs="*", choices=ABLATIONS, default=list(ABLATIONS), help="these ablations")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    values: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for seed in range(options.seeds):
        for name, row in run(seed, options.steps, options.only).items():
            values[name].append(row)
    if options.json:
        print(json.dumps(values))
        return
    print(f"Recall@1 (%) on held-out simulated dialogues, {options.seeds} seeds, {options.steps} steps")
    print(f"{'':22} {'state questions':>16} {'all questions':>15} {'training s':>11}")
    for name, rows in values.items():
        means, spreads = zip(*((statistics.mean(c), _spread(c)) for c in zip(*rows, strict=True)), strict=True)
        print(f"{name:22} {means[0]:9.1f} ± {spreads[0]:4.1f} {means[1]:8.1f} ± {spreads[1]:4.1f} {means[2]:11.0f}")


def _spread(values: tuple[float, ...]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()

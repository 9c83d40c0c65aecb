"""Does memory pay? Recall@1 on held-out state questions over several seeds, trained with and without memory.

    python benchmarks/evolvable.py --seeds 3              # the demo's recipe
    python benchmarks/evolvable.py --seeds 1 --steps 100  # a quick look
    python benchmarks/evolvable.py --ablate               # also trains without the memory, half as long again

Each seed has its own simulated worlds, initial weights and batches. The held-out worlds share no fillers and no
paraphrases with training. `memory off` is the trained model with its memory switched off; `--ablate` also trains a
model without memory from the same data. A seed takes as long as `evo demo`; a rerun goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path

import polars as pl

from flows.cli import EXAMPLES
from flows.evaluate import evaluate, stored_scores
from flows.pipeline import pipeline
from flows.recipes import recipe as named_recipe
from flows.settings import home
from flows.train import train
from schemas.configs import Recipe
from warehouse.catalog import Warehouse

SOURCE = str(EXAMPLES / "peps.parquet")


def variant(seed: int, steps: int | None) -> Recipe:
    """The demo's recipe with this seed everywhere."""
    base = named_recipe("demo")
    training = base.train.model_copy(update={"seed": seed, "steps": steps or base.train.steps})
    simulator = base.simulator.model_copy(update={"seed": seed})
    return base.model_copy(update={"name": f"evolvable-{seed}", "simulator": simulator, "train": training})


def run(state: Path, seed: int, steps: int | None, ablate: bool) -> dict[str, tuple[float, int]]:
    """System -> (Recall@1 on state questions, number of questions)."""
    recipe = variant(seed, steps)
    model = pipeline(state, recipe, SOURCE)
    with Warehouse.open(state) as warehouse:
        found = stored_scores(warehouse, model.model_id, "heldout")
    scores = state_scores(found)
    if ablate:
        off = recipe.train.model_copy(update={"model": recipe.train.model.model_copy(update={"memory": False})})
        ablation = train(state, recipe.name, off)
        own = state_scores(evaluate(state, ablation.model_id, "heldout", recipe))
        scores["EvoEmbedding, trained without memory"] = own["EvoEmbedding, memory off"]
    return scores


def state_scores(scores: pl.DataFrame) -> dict[str, tuple[float, int]]:
    """System -> (Recall@1 on state questions, number of questions) of score rows."""
    rows = scores.filter((pl.col("question_type") == "state") & (pl.col("metric") == "Recall@1"))
    return {row["system"]: (row["value"], row["questions"]) for row in rows.iter_rows(named=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="training steps (the recipe's by default)")
    parser.add_argument("--ablate", action="store_true", help="also train without the memory")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    values: dict[str, list[float]] = defaultdict(list)
    questions = 0
    for seed in range(options.seeds):
        scores = run(home() / "evolvable", seed, options.steps, options.ablate)
        questions = max(asked for _, asked in scores.values())
        for system, (value, _) in scores.items():
            values[system].append(100 * value)
    if options.json:
        print(json.dumps({"questions": questions, "recall_at_1": values}))
        return
    print(f"Recall@1 (%) on {questions} held-out state questions a seed, {options.seeds} seeds")
    for system, found in sorted(values.items(), key=lambda item: -statistics.mean(item[1])):
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        print(f"{system:55} {statistics.mean(found):5.1f} ± {spread:4.1f}   {', '.join(f'{v:.1f}' for v in found)}")


if __name__ == "__main__":
    main()

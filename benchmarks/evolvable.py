"""Does memory pay? Recall@1 on held-out state questions over several seeds.

    python benchmarks/evolvable.py --seeds 3              # the demo's recipe
    python benchmarks/evolvable.py --seeds 1 --steps 100  # a quick look

Each seed has its own simulated worlds, initial weights and batches. The held-out worlds share no fillers and no
paraphrases with training. `memory off` is the trained model with its memory switched off; benchmarks/ablations.py
trains without it. A seed takes as long as `evo demo`; a rerun goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

sys.path.pop(0)  # this folder: its files have names of our packages

import polars as pl

from evoembedding.flows.commands.demo import EXAMPLES
from evoembedding.flows.evaluate import heldout, stored_scores
from evoembedding.flows.pipeline import pipeline
from evoembedding.flows.recipes import demo, seeded
from evoembedding.schemas.home import home
from evoembedding.warehouse.catalog import Warehouse

SOURCE = str(EXAMPLES / "peps.parquet")


def run(state: Path, seed: int, steps: int | None) -> dict[str, tuple[float, int]]:
    """System -> (Recall@1 on state questions, number of questions)."""
    recipe = seeded(demo(), f"evolvable-{seed}", seed, steps)
    model = pipeline(state, recipe, SOURCE)
    with Warehouse.open(state) as warehouse:
        found = stored_scores(warehouse, model.model_id, heldout(recipe))
    return state_scores(found)


def state_scores(scores: pl.DataFrame) -> dict[str, tuple[float, int]]:
    """System -> (Recall@1 on state questions, number of questions) of score rows."""
    rows = scores.filter((pl.col("question_type") == "state") & (pl.col("metric") == "Recall@1"))
    return {row["system"]: (row["value"], row["questions"]) for row in rows.iter_rows(named=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="training steps (the recipe's by default)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    values: dict[str, list[float]] = defaultdict(list)
    questions = 0
    for seed in range(options.seeds):
        scores = run(home() / "evolvable", seed, options.steps)
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

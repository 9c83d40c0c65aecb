"""How fast the simulator and its checks run on one core, beside writing the same episodes as JSON lines.

python benchmarks/simulator.py --contexts 2000
"""

from __future__ import annotations

import argparse
import time

from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.synth.simulator import simulate
from evoembedding.synth.verification import verify


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contexts", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = SimulatorConfig(contexts=options.contexts, seed=options.seed)
    start = time.perf_counter()
    drafts = list(simulate(config))
    simulated = time.perf_counter()
    seen: set[str] = set()
    checked = [verify(draft, seen) for draft in drafts]
    verified = time.perf_counter()
    size = sum(len(one.model_dump_json()) for one in checked)
    written = time.perf_counter()
    episodes = sum(len(one.episodes) for one in checked)
    asked = sum(len(draft.questions) for draft in drafts)
    print(f"{len(drafts)} contexts, {asked} questions, {episodes} passed all checks, {size / 1e6:.1f} MB of JSON")
    print(f"simulate            {episodes / (simulated - start):10.0f} episodes/s")
    print(f"simulate and check  {episodes / (verified - start):10.0f} episodes/s")
    print(f"bound: JSON only    {episodes / (written - verified):10.0f} episodes/s")


if __name__ == "__main__":
    main()

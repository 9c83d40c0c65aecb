"""A simulated world as a draft: its context, questions and evidence."""

from __future__ import annotations

import random

from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.episode import Draft
from evoembedding.synth.drafting import draft as drafted
from evoembedding.synth.simulator.questions import ask
from evoembedding.synth.simulator.render import render
from evoembedding.synth.simulator.world import tell

GENERATOR = "simulator"
# Apart from the generator's version: the worlds are still those of version 1, and only the questions about them grew.
WORLDS = "simulator-1"


def draft(config: SimulatorConfig, index: int, fingerprint: str) -> Draft:
    """World `index` of the configuration, marked with the generator's fingerprint."""
    rng = random.Random(f"{WORLDS}/{config.seed}/{config.split}/{index}")
    length = rng.randint(config.min_segments, max(config.min_segments, config.max_segments))
    beats = tell(rng, config.split, length)
    segments = tuple(render(rng, config.split, beat) for beat in beats)
    # Drawn last: new types of questions leave a world and its words as they were.
    asked = ask(rng, config.split, beats, config.questions_per_context)
    return drafted(GENERATOR, "dialogue", segments, asked, fingerprint, seed=index, split=config.split)

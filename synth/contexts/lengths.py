"""How long a context gets: segments drawn from the configured distribution, and a cut at the most tokens.

Segments come in and go out; nothing is rewritten.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from evoembedding.schemas.configs import LengthConfig
from evoembedding.schemas.episode import Segment
from evoembedding.synth.text import tokens


def draw_segments(rng: random.Random, config: LengthConfig) -> int:
    """A number of segments: log-normal with the configured mean, at least and at most what is allowed."""
    middle = math.log(config.mean_segments) - config.spread**2 / 2
    drawn = round(math.exp(rng.gauss(middle, config.spread)))
    return min(config.max_segments, max(config.min_segments, drawn))


def cut(segments: Sequence[Segment], config: LengthConfig) -> tuple[Segment, ...]:
    """The segments from the start that keep within the most segments and tokens; the first always."""
    total = 0
    for count, segment in enumerate(segments[: config.max_segments]):
        total += tokens(segment.text)
        if count and total > config.max_tokens:
            return tuple(segments[:count])
    return tuple(segments[: config.max_segments])

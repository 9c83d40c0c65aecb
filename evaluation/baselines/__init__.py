"""What a model with memory must beat: all run offline, all score the same segments. Each is a file, and an entry here.

The evaluation, reports and tests read the entries and know no baseline by name.
"""

from __future__ import annotations

from evoembedding.evaluation.baselines.baseline import Baseline
from evoembedding.evaluation.baselines.chance import RANDOM
from evoembedding.evaluation.baselines.lexical import LEXICAL
from evoembedding.evaluation.baselines.minilm import MINILM
from evoembedding.evaluation.baselines.recency import RECENCY
from evoembedding.schemas.benchmark import Encoder

BASELINES: dict[str, Baseline] = {
    one.name: one
    for one in (
        LEXICAL,
        MINILM,
        RECENCY,
        RANDOM,
    )
}


def runnable() -> list[Baseline]:
    """Those that can run here; MiniLM where its package is installed."""
    return [one for one in BASELINES.values() if one.here]


def baselines() -> list[Encoder]:
    """Every baseline that can run here, made."""
    return [one.make() for one in runnable()]

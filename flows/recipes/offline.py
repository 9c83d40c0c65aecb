"""From documents to a model on two cores, without a teacher."""

from __future__ import annotations

from evoembedding.schemas.configs import ClozeConfig, ModelConfig, Recipe, SimulatorConfig, TrainConfig


def demo() -> Recipe:
    """Real documents to a traced model in under 10 minutes on two cores."""
    return Recipe(
        name="demo",
        simulator=SimulatorConfig(contexts=5000),
        cloze=ClozeConfig(max_segments=16),
        train=TrainConfig(
            # 408 s of the demo's ten minutes on two cores (docs/performance.md).
            steps=900,
            batch_episodes=8,
            learning_rate=1.5e-3,
            memory_loss_weight=0.25,  # answers are about 4 tokens, of which the loss is the sum
        ),
        heldout_contexts=150,
    )


def smallest() -> Recipe:
    """The demo's shape in about a minute: proves the path, says nothing of quality."""
    return Recipe(
        name="smallest",
        simulator=SimulatorConfig(contexts=64),
        cloze=ClozeConfig(max_segments=8, questions_per_document=1),
        train=TrainConfig(
            steps=12,
            batch_episodes=4,
            checkpoint_every=6,
            model=ModelConfig(layers=2, hidden=32, embedding=32, heads=2),
        ),
        heldout_contexts=8,
    )

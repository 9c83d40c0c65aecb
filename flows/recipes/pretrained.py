"""Training of adapters on a pretrained language model, as in the paper."""

from __future__ import annotations

from evoembedding.schemas.configs import ClozeConfig, ModelConfig, Recipe, SimulatorConfig, TrainConfig


def paper() -> Recipe:
    """The paper's training recipe (arXiv 2606.21649) on as many episodes, for GPUs: 8 ranks take 2 batches a step each.

    Simulated dialogues have 21 segments on average; documents give the long contexts, up to 10K tokens.
    """
    return Recipe(
        name="paper",
        simulator=SimulatorConfig(contexts=30_000, min_segments=8, max_segments=34),
        cloze=ClozeConfig(max_segments=128),
        train=TrainConfig(
            model=ModelConfig(
                backbone="qwen3-4b",
                latents=16,
                capacity=512,
                embedding=1024,
                lora_rank=64,
                lora_alpha=128,
                lora_dropout=0.1,
            ),
            epochs=1,
            batch_episodes=1,
            batches_per_step=16,
            # The longest context of EvoTrain-180K.
            token_budget=10_300,
            learning_rate=5e-5,
            final_lr_fraction=0.1,
            warmup_fraction=0.05,
            gradient_clip=1.0,
            precision="bfloat16",
            checkpoint_activations=True,
        ),
    )


def smollm2() -> Recipe:
    """The paper's shape on a real language model that trains on a CPU: proves the path, says nothing of quality."""
    base = paper().train
    small = {"backbone": "smollm2", "latents": 4, "capacity": 128, "embedding": 256, "lora_rank": 8, "lora_alpha": 16}
    return Recipe(
        name="smollm2",
        simulator=SimulatorConfig(contexts=100, min_segments=8, max_segments=12, questions_per_context=4),
        cloze=None,
        train=base.replace(
            model=base.model.replace(**small),
            epochs=0,
            # 12 minutes of one thread (docs/performance.md).
            steps=60,
            batches_per_step=1,
            learning_rate=2e-4,
            precision="float32",
            checkpoint_activations=False,
            checkpoint_every=20,
        ),
        heldout_contexts=8,
    )

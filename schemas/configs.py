"""Complete frozen configs: a run is a function that returns one, and variants derive by `model_copy`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.episode import Record, Split


class SimulatorConfig(Record):
    """Simulated dialogues: how many, how long, from which half of the fillers and paraphrases."""

    contexts: int = Field(2000, ge=0)
    min_segments: int = Field(14, ge=8)
    max_segments: int = Field(20, ge=8)
    questions_per_context: int = Field(6, ge=1)
    split: Split = "train"
    seed: int = 0


class ClozeConfig(Record):
    """Cloze questions over documents: sliding windows of about `window_words`, `overlap_words` shared."""

    window_words: int = Field(60, ge=10)
    overlap_words: int = Field(12, ge=0)
    max_segments: int = Field(32, ge=2)
    questions_per_document: int = Field(2, ge=1)
    seed: int = 0


class ModelConfig(Record):
    """EvoEmbedding. `backbone` is `tiny` (from scratch) or a Hugging Face folder or id (LoRA adapters).

    Letters as in the docs: D hidden size, K latents a segment, C queue capacity in latents, E embedding size.
    """

    backbone: str = "tiny"
    latents: int = Field(2, ge=1)  # K
    capacity: int = Field(64, ge=1)  # C, a multiple of K
    embedding: int = Field(96, ge=1)  # E
    hidden: int = 96  # D, tiny only
    layers: int = 3  # tiny only
    heads: int = 4  # tiny only
    vocabulary: int = 1536  # tiny only
    lora_rank: int = 64
    lora_alpha: int = 128
    lora_dropout: float = 0.1
    memory: bool = True  # False: the memory-off ablation, a static model


class TrainConfig(Record):
    """One training job."""

    model: ModelConfig = ModelConfig()
    steps: int = Field(800, ge=1)
    batch_episodes: int = Field(16, ge=1)  # contexts a step and rank, each with its questions
    token_budget: int = Field(8192, ge=1)  # memory tokens a step and rank, padding included
    learning_rate: float = Field(1e-3, gt=0)
    final_lr_fraction: float = 0.1
    warmup_fraction: float = 0.05
    gradient_clip: float = 1.0
    memory_loss_weight: float = 1.0
    temperature: float = 0.1  # tau
    batch_segments: int = 16  # a segment batch closes at this many segments...
    batch_tokens: int = 2048  # ...or before this many tokens
    zero_stage: Literal[0, 1, 2, 3] = 1
    checkpoint_every: int = Field(100, ge=1)
    seed: int = 0


class Recipe(Record):
    """Everything a run of the pipeline needs but its inputs and its state folder."""

    name: str
    simulator: SimulatorConfig = SimulatorConfig()
    cloze: ClozeConfig = ClozeConfig()
    train: TrainConfig = TrainConfig()
    heldout_contexts: int = Field(150, ge=1)

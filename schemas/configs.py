"""Complete frozen configs: a run is a function that returns one, and variants derive by `replace`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from evoembedding.schemas.budget import Budget
from evoembedding.schemas.episode import Split
from evoembedding.schemas.expect import Expect
from evoembedding.schemas.gate import Gate
from evoembedding.schemas.identity import Born, Config
from evoembedding.schemas.retraining import RetrainPolicy
from evoembedding.schemas.teacher import Sampling, TeacherConfig


class SimulatorConfig(Config):
    """Simulated dialogues: how many, how long, from which half of the fillers and paraphrases."""

    contexts: int = Field(2000, ge=0, description="How many dialogues.")
    min_segments: int = Field(14, ge=8, description="Segments of the shortest dialogue.")
    max_segments: int = Field(20, ge=8, description="Segments of the longest dialogue.")
    questions_per_context: int = Field(6, ge=1, description="Questions asked of each dialogue, at most.")
    split: Split = Field("train", description="Which half of the fillers and paraphrases: `train` or `heldout`.")
    seed: int = Field(0, description="Seed of the dialogues and their questions.")


class ClozeConfig(Config):
    """Cloze questions over documents: sliding windows of about `window_words`, `overlap_words` shared."""

    window_words: int = Field(60, ge=10, description="Words of a window, about.")
    overlap_words: int = Field(12, ge=0, description="Words that neighbouring windows share.")
    max_segments: int = Field(32, ge=2, description="Windows of a context, at most.")
    questions_per_document: int = Field(2, ge=1, description="Questions asked of each document, at most.")
    seed: int = Field(0, description="Seed of which terms are masked.")


class LengthConfig(Config):
    """How long contexts are: log-normal segment counts, cut off at both ends.

    The defaults give EvoTrain-180K's statistics (arXiv 2606.21649: mean 21, up to 246 segments, up to 10.3K tokens).
    """

    mean_segments: float = Field(21, ge=1, description="Mean number of segments.")
    min_segments: int = Field(4, ge=2, description="The fewest segments.")
    max_segments: int = Field(246, ge=2, description="The most segments.")
    spread: float = Field(0.62, ge=0, description="Standard deviation of the logarithm.")
    max_tokens: int = Field(10_300, ge=50, description="Estimated; a context is cut there.")

    @model_validator(mode="after")
    def _in_order(self) -> LengthConfig:
        if not self.min_segments <= self.mean_segments <= self.max_segments:
            raise ValueError(
                f"min_segments {self.min_segments}, mean_segments {self.mean_segments} and max_segments "
                f"{self.max_segments} are not in this order"
            )
        return self


class WebConfig(Config):
    """Contexts from documents, a run of sliding windows each; no teacher is asked for them."""

    documents: int | None = Field(None, ge=0, description="The first of them by id; None: all.")
    window_tokens: int = Field(72, ge=10, description="At most; sentences fill about 62 of them, as in the paper.")
    overlap_tokens: int = Field(12, ge=0, description="Tokens that neighbouring windows share.")


class DialogueConfig(Config):
    """Contexts from personas: a plan of life events, then turns that tell them."""

    personas: int = Field(1000, ge=0, description="How many personas, a dialogue each.")
    events_a_plan: int = Field(24, ge=1, le=64, description="Asked for in one call.")
    events_a_call: int = Field(8, ge=1, le=64, description="Told in one call.")
    words_a_turn: int = Field(46, ge=5, description="Asked for; 62 tokens, as in the paper.")


class MemoryConfig(Config):
    """Contexts of typed statements, extracted from the contexts of a share of documents and personas."""

    share: float = Field(1 / 3, ge=0, le=1, description="Share of documents and personas whose contexts get a memory.")
    segments_a_call: int = Field(8, ge=1, description="Segments from which statements are extracted in one call.")


class QuestionConfig(Config):
    """Questions of a context: their types are drawn by weight, without replacement."""

    a_context: int = Field(4, ge=1, description="How many questions.")
    types: tuple[str, ...] = Field((), description="Of the taxonomy; empty: all.")
    weights: dict[str, float] = Field(default_factory=dict, description="By type, in place of the taxonomy's.")

    @model_validator(mode="after")
    def _weights_count(self) -> QuestionConfig:
        for name, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"weight {weight} of question type '{name}' is not a number of 0 or more")
        return self


class VerifyConfig(Config):
    """Thresholds of the checks. Those named `_least` and `_most` may be moved without a single new call."""

    min_votes: int | None = Field(None, ge=1, description="That make a segment evidence; None: more than half.")
    agreement_least: float = Field(
        0.5, ge=0, le=1, description="Votes for segments that were named, of all votes they could have had."
    )
    samples: int = Field(1, ge=1, description="Answers asked for in each check by answering.")
    evidence_only_least: float = Field(1.0, ge=0, le=1, description="Share of right answers from the evidence alone.")
    closed_book_most: float = Field(0.0, ge=0, le=1, description="Share of right answers without any context.")
    evidence_removed_most: float = Field(0.0, ge=0, le=1, description="Share of right answers without the evidence.")
    sampling: Sampling = Field(Sampling(temperature=0, max_tokens=512), description="How the judge is sampled.")
    limits: Annotated[dict[str, Annotated[float, Field(allow_inf_nan=False)]], Born({})] = Field(
        default_factory=dict, description="Thresholds of checks that have no field here, by name."
    )


class TeachingConfig(Config):
    """The three stages with teachers. A role takes a teacher by name; left empty, it is the first teacher's."""

    teachers: tuple[TeacherConfig, ...] = Field(min_length=1, description="Who may be asked.")
    writer: str = Field("", description="Of dialogues and memory statements.")
    askers: tuple[str, ...] = Field((), description="Of questions, in turn.")
    annotators: tuple[str, ...] = Field((), description="Of evidence; a name given twice votes twice.")
    judge: str = Field("", description="Of the checks.")
    budget: Budget = Field(Budget(), description="The most that may be spent.")
    lengths: LengthConfig = Field(LengthConfig(), description="How long contexts are.")
    web: WebConfig = Field(WebConfig(), description="Contexts from documents.")
    dialogue: DialogueConfig = Field(DialogueConfig(), description="Contexts from personas.")
    memory: MemoryConfig = Field(MemoryConfig(), description="Contexts of statements.")
    questions: QuestionConfig = Field(QuestionConfig(), description="Questions of each context.")
    annotation: Sampling = Field(
        Sampling(temperature=0, max_tokens=512), description="How votes on evidence are sampled."
    )
    verify: VerifyConfig = Field(VerifyConfig(), description="Thresholds of the checks.")
    seed: int = Field(0, description="Seed of personas, lengths and drawn types.")

    @model_validator(mode="after")
    def _roles_are_filled(self) -> TeachingConfig:
        names = [teacher.name for teacher in self.teachers]
        if len(set(names)) < len(names):
            raise ValueError(f"two teachers have one name; the names are: {', '.join(names)}")
        for name in (self.writer, self.judge, *self.askers, *self.annotators):
            if name and name not in names:
                raise ValueError(f"no teacher is named '{name}'; the teachers are: {', '.join(names)}")
        if self.budget.money is not None and not any(t.price.prompt or t.price.completion for t in self.teachers):
            raise ValueError("a budget in money needs a price, and no teacher has one: it would never be spent")
        votes = len(self.annotators) or 1
        if (self.verify.min_votes or 1) > votes:
            raise ValueError(f"min_votes {self.verify.min_votes} is more than the {votes} annotators can give")
        return self


class CurationConfig(Config):
    """What a dataset version leaves out of the episodes that passed their checks."""

    near_duplicate: float | None = Field(
        0.8, gt=0.2, le=1, description="Jaccard similarity of two contexts; None: all are kept."
    )
    shingle_words: int = Field(5, ge=1, description="Runs of words whose sets are compared.")
    held_out: Annotated[float, Born(0.0)] = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of the sources of documents that is kept apart from training: questions of your own.",
    )
    benchmarks: tuple[str, ...] = Field(
        (), description="Files and folders, or NAME=FILE: their texts are not trained on."
    )
    overlap_words: int = Field(13, ge=5, description="A context or question shares no run of so many words with them.")


class ModelConfig(Config):
    """EvoEmbedding. `backbone` is `tiny` (from scratch), or takes LoRA adapters: a name of
    `trainer.backbones.known`, or a Hugging Face folder or id.

    Letters as in the docs: D hidden size, K latents a segment, C queue capacity in latents, E embedding size. The upper
    bounds are beyond any model: a config may come from anywhere, and to look at its shapes must take no time.
    """

    backbone: str = Field("tiny", description="The decoder under the model.")
    latents: int = Field(2, ge=1, le=4096, description="K, latent vectors that a segment leaves in the memory.")
    capacity: int = Field(
        64, ge=1, le=1 << 20, description="C, latents in the queue, at least K; rounded down to whole segments."
    )
    embedding: int = Field(96, ge=1, le=1 << 16, description="E, size of an embedding.")
    hidden: int = Field(96, ge=2, le=1 << 16, description="D, size of a hidden state; `tiny` only.")
    layers: int = Field(3, ge=1, le=512, description="Of the decoder; `tiny` only.")
    heads: int = Field(4, ge=1, le=4096, description="Of each layer; their size, D over heads, is even; `tiny` only.")
    vocabulary: int = Field(1536, ge=1, le=4_000_000, description="Tokens of the tokenizer, `tiny` only.")
    # The paper's adapters.
    lora_rank: int = Field(64, ge=1, le=1 << 14, description="Rank of the two adapters of a backbone.")
    lora_alpha: int = Field(128, ge=1, description="Their scale, over the rank.")
    lora_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout before the adapters, in training.")
    memory: bool = Field(True, description="False: the memory-off ablation, a static model.")

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        if self.capacity < self.latents:
            raise ValueError(f"a queue of {self.capacity} latents cannot hold the {self.latents} of one segment")
        if self.backbone == "tiny" and self.hidden % (2 * self.heads):
            raise ValueError(f"a hidden size of {self.hidden} does not make {self.heads} heads of an even size")
        return self


class TrainConfig(Config):
    """One training job."""

    model: ModelConfig = Field(ModelConfig(), description="What is trained.")
    steps: int = Field(800, ge=1, description="Optimizer steps.")
    epochs: int = Field(0, ge=0, description="Passes over the shards in place of `steps`; 0: `steps`.")
    batches_per_step: int = Field(1, ge=1, description="Over all ranks: each accumulates the gradients of its share.")
    batch_episodes: int = Field(16, ge=1, description="Contexts a batch, each with its questions.")
    token_budget: int = Field(8192, ge=1, description="Memory tokens a batch, padding included.")
    learning_rate: float = Field(1e-3, gt=0, description="The highest, after warm-up.")
    final_lr_fraction: float = Field(
        0.1, ge=0, le=1, description="Share of the learning rate that is left at the last step."
    )
    warmup_fraction: float = Field(0.05, ge=0, le=1, description="Share of the steps in which the learning rate rises.")
    gradient_clip: float = Field(1.0, ge=0, description="Largest norm of a step's gradient; 0: none.")
    memory_loss_weight: float = Field(1.0, ge=0, description="Weight of the memory loss beside the contrastive one.")
    length_weight: bool = Field(True, description="The factor log(N+1) in L_con.")
    temperature: float = Field(0.1, gt=0, description="tau of the contrastive loss.")
    # The paper's segment-batching.
    batch_segments: int = Field(16, ge=1, description="A segment batch closes at this many segments.")
    batch_tokens: int = Field(2048, ge=1, description="A segment batch closes before this many tokens.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: GPUs, and CPUs that multiply it."
    )
    checkpoint_activations: bool = Field(
        False, description="Recompute every pass in backward: less memory, about a third more time."
    )
    zero_stage: Literal[0, 1, 2, 3] = Field(1, description="What ranks hold a part of each: docs/training.md.")
    checkpoint_every: int = Field(100, ge=1, description="Steps between checkpoints.")
    seed: int = Field(0, description="Seed of the weights, the batches and dropout.")


class Recipe(Config):
    """Everything a run of the pipeline needs but its inputs and its state folder.

    Offline generators and teachers are equal choices: `cloze` and `teaching` may be None, simulated contexts 0.
    """

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="What datasets, budgets and stored runs know it by."
    )
    simulator: SimulatorConfig = Field(SimulatorConfig(), description="Simulated dialogues.")
    cloze: ClozeConfig | None = Field(ClozeConfig(), description="Cloze questions over documents; None: none.")
    teaching: TeachingConfig | None = Field(None, description="Synthesis with teachers; None: none.")
    curation: CurationConfig = Field(CurationConfig(), description="What versions leave out.")
    train: TrainConfig = Field(TrainConfig(), description="How a model is trained.")
    heldout_contexts: int = Field(150, ge=1, description="Dialogues of the held-out split that models are scored on.")
    gate: Annotated[Gate, Born(Gate())] = Field(Gate(), description="What a model shows before it is promoted.")
    retrain: Annotated[RetrainPolicy, Born(RetrainPolicy())] = Field(RetrainPolicy(), description="When to retrain.")
    expect: Annotated[Expect, Born(Expect())] = Field(Expect(), description="What a version is, or it is a draft.")
    generators: Annotated[dict[str, dict[str, Any]], Born({})] = Field(
        default_factory=dict, description="Settings of further offline generators, by name; each checks its own."
    )

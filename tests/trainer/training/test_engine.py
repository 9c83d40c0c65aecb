"""Steps, checkpoints and guards on several ranks, under every ZeRO stage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from evoembedding.schemas.ablations import ablated
from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.model.batches import collate
from evoembedding.trainer.model.evo_model import EvoModel, Losses
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer
from evoembedding.trainer.training.checkpoints import WEIGHT, newest_state, read_state, write_state
from evoembedding.trainer.training.launch import RankLostError, launch
from evoembedding.trainer.training.loop import load_weights
from evoembedding.trainer.training.metrics import COLUMNS, combined, first_not_finite, measured
from tests.soak import SOAKING

World = tuple[Path, Path]
Same = Callable[[Path, Path], bool]
# All parameters split, and with the tiny model gradients (two ranks, below); every stage and kind while soaking.
CURVES = [("adapters", (0, 1, 2, 3)), ("tiny", (1, 3)), ("no-memory", (1, 2, 3))] if SOAKING else [("adapters", (3,))]
# The stage of a checkpoint, and the stage and ranks that it goes on under.
RESUMED = ((0, 3, 2), (1, 2, 1), (2, 0, 2), (3, 1, 4)) if SOAKING else ((3, 1, 1),)
ODD = [("tiny", (2,)), ("adapters", (1, 2, 3))] if SOAKING else [("adapters", (2,))]


def train(world: World, config: TrainConfig, out: Path, ranks: int, stage: int = 1) -> Path:
    launch(*world, config.model_copy(update={"zero_stage": stage}), out, ranks, on_progress=lambda row: None)
    return out


@pytest.fixture
def tiny(config: TrainConfig) -> TrainConfig:
    """Four batches a step."""
    return config.model_copy(update={"batches_per_step": 4, "batch_episodes": 2, "steps": 4})


@pytest.fixture
def adapters(tiny: TrainConfig, tokenizer: EvoTokenizer, tmp_path: Path) -> TrainConfig:
    """A frozen backbone with adapters and dropout. Its weights are small, as transformers draws them: a backbone of
    large random weights turns the order of float sums into other gradients within a few steps."""
    torch.manual_seed(1)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=tokenizer.vocabulary, **shape, **heads)).save_pretrained(tmp_path / "small")
    tokenizer.tokenizer.save_pretrained(tmp_path / "small")
    model = tiny.model.model_copy(update={"backbone": str(tmp_path / "small"), "lora_rank": 4, "lora_alpha": 8})
    return tiny.model_copy(update={"model": model, "learning_rate": 1e-2})


@pytest.mark.slow
def test_two_ranks_give_the_curve_of_one_and_stop_together(
    world: World, tiny: TrainConfig, tmp_path: Path, same_curve: Same
) -> None:
    wanted = train(world, tiny, tmp_path / "one", ranks=1, stage=0)
    assert same_curve(train(world, tiny, tmp_path / "two", ranks=2, stage=2), wanted)
    # A weight that is no number, from the checkpoint on that both ranks resume.
    newest, _ = newest_state(tmp_path / "two" / "checkpoints")
    assert newest is not None
    shutil.rmtree(newest)
    step, state = read_state(newest.with_name("step-00000002"))
    state[WEIGHT]["latent_projection.weight"][0, 0] = float("nan")
    write_state(newest.parent, step, state)
    with pytest.raises(EvoError, match=r"the loss is nan at step 3, on episodes ep-") as caught:
        train(world, tiny, tmp_path / "two", ranks=2, stage=2)
    assert not isinstance(caught.value, RankLostError)
    assert [path.name for path in newest.parent.iterdir()] == ["step-00000002"]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "stages"), CURVES)
def test_curve_depends_on_neither_ranks_nor_zero_stage(
    world: World,
    tiny: TrainConfig,
    adapters: TrainConfig,
    kind: str,
    stages: tuple[int, ...],
    tmp_path: Path,
    same_curve: Same,
) -> None:
    config = {"adapters": adapters, "tiny": tiny}.get(kind) or ablated(adapters, kind)
    wanted = train(world, config, tmp_path / "one", ranks=1, stage=0)
    for stage in stages:
        assert same_curve(train(world, config, tmp_path / f"{stage}", ranks=2, stage=stage), wanted), stage
    if kind == "adapters":  # a checkpoint of one stage goes on under another, on other ranks
        for written, stage, ranks in RESUMED:
            out = tmp_path / f"{written}"
            shutil.rmtree(out / "checkpoints" / "step-00000004")
            shutil.rmtree(out / "model")
            assert same_curve(train(world, config, out, ranks, stage), wanted), (written, stage, ranks)
            assert (out / "model").is_dir()


def first_segment(row: dict[str, Any]) -> dict[str, Any]:
    """The row's context cut to one segment, so that its questions have no negatives."""
    kept = {name: row[name][:1] for name in ("memory_tokens", "retriever_tokens")}
    questions = [{**q, "evidence": [0]} for q in row["questions"]]
    return {**row, **kept, "segments": 1, "tokens": len(row["memory_tokens"][0]), "questions": questions}


@pytest.mark.slow
def test_odd_contexts_are_trained_beside_others(
    world_of: Callable[[list[dict[str, Any]]], World],
    rows: list[dict[str, Any]],
    tiny: TrainConfig,
    adapters: TrainConfig,
    tmp_path: Path,
    same_curve: Same,
) -> None:
    short = [first_segment(row) for row in rows[:2]]  # one batch of the first step
    bare = [{**row, "questions": [{**q, "evidence": []} for q in row["questions"]]} for row in rows]
    world = world_of([*short, *(bare[i] if i // 2 % 2 else rows[i] for i in range(2, len(rows)))])
    for name, stages in ODD:
        config = {"adapters": adapters, "tiny": tiny}[name]
        wanted = train(world, config, tmp_path / f"{name}-one", ranks=1, stage=0)
        for stage in stages:
            out = train(world, config, tmp_path / f"{name}-{stage}", ranks=2, stage=stage)
            assert same_curve(out, wanted), (name, stage)


def test_weights_of_another_model_are_refused(model: EvoModel) -> None:
    weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    load_weights(model, {WEIGHT: weights}, "step-1")
    with pytest.raises(EvoError, match=r"'step-1' does not fit the model at 1 weights, first 'queries'"):
        load_weights(model, {WEIGHT: {**weights, "queries": torch.zeros(1)}}, "step-1")
    del weights["queries"]
    with pytest.raises(EvoError, match=r"at 1 weights, first 'queries'"):
        load_weights(model, {WEIGHT: weights}, "step-1")


def test_a_step_is_the_mean_of_its_batches(model: EvoModel, rows: list[dict[str, Any]]) -> None:
    batches = [collate(rows[:2]), collate(rows[2:5])]
    with torch.no_grad():
        losses = [model(batch) for batch in batches]
    table = [
        measured(model, b, each, 0.5 + i).tolist() for i, (b, each) in enumerate(zip(batches, losses, strict=True))
    ]
    step = combined(table)
    assert step["loss"] == pytest.approx(sum(float(each.total) for each in losses) / 2)
    assert (step["contexts"], step["tokens"]) == (5, sum(batch.tokens for batch in batches))
    assert (step["memory_gib"], step["queue_use"]) == (1.5, 1.0)  # all contexts outgrow the queue of four segments
    assert set(step) == set(COLUMNS)
    assert first_not_finite(table) is None
    broken = measured(model, batches[1], Losses(*[torch.tensor(float("nan"))] * 3), 0.0).tolist()
    assert first_not_finite([table[0], broken]) == 1

"""A Hugging Face backbone with two adapters: its roles, its precision, what it keeps, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    BartConfig,
    BartForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from evoembedding.schemas.configs import ModelConfig, TrainConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.backbones.names import source
from evoembedding.trainer.model.batches import collate
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model_folder import WEIGHTS, load_model, save_model
from evoembedding.trainer.tokenizer.evo_tokenizer import load_tokenizer
from evoembedding.trainer.training.launch import launch
from tests.soak import SOAKING
from tests.trainer.families import FAMILIES

Adapted = Callable[..., EvoModel]
Rows = Callable[[str], list[dict[str, Any]]]


def test_roles_differ(make_adapted: Adapted) -> None:
    backbone = make_adapted("llama").backbone
    inputs, positions = backbone.embed(torch.tensor([[5, 6, 7]])), torch.arange(3)[None]
    with torch.no_grad():
        plain, memory, retriever = (
            backbone.hidden(inputs, positions, None, role) for role in ("plain", "memory", "retriever")
        )
    assert not torch.allclose(memory, plain, atol=1e-3)
    assert not torch.allclose(retriever, plain, atol=1e-3)
    assert not torch.allclose(retriever, memory, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_role_is_the_language_model(
    family: str, make_adapted: Adapted, family_folder: Callable[[str], Path]
) -> None:
    """Also its embeddings' scale, its windows where no mask is given, and its capped logits."""
    backbone = make_adapted(family).backbone
    plain = AutoModelForCausalLM.from_pretrained(family_folder(family)).eval()
    ids = torch.randint(5, 400, (2, 40))
    with torch.no_grad():
        wanted = plain(ids, output_hidden_states=True)
        hidden = backbone.hidden(backbone.embed(ids), torch.arange(40).expand(2, -1), None, "plain")
        assert torch.allclose(hidden, wanted.hidden_states[-1], atol=1e-5)
        assert torch.allclose(backbone.logits(hidden.flatten(0, 1)), wanted.logits.flatten(0, 1), atol=1e-5)


def test_adapters_are_on_the_text_decoder_alone(make_adapted: Adapted) -> None:
    names = [n for n, p in make_adapted("gemma3").named_parameters() if "lora_" in n]
    assert len(names) == 2 * 2 * 7 * 2  # matrices, adapters, layers of a block, blocks
    assert all("language_model" in name for name in names)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_model_folder_holds_the_trained_part_and_loads(
    family: str, make_adapted: Adapted, family_rows: Rows, tmp_path: Path
) -> None:
    model, batch = make_adapted(family, capacity=8), collate(family_rows(family)[:2])
    save_model(model, load_tokenizer(model.config.model.backbone), tmp_path / "model")
    loaded, _ = load_model(tmp_path / "model")
    with torch.no_grad():
        wanted = model.embed_segments(model.read(batch.memory), batch.segments)
        assert torch.allclose(loaded.embed_segments(loaded.read(batch.memory), batch.segments), wanted, atol=1e-6)
    backbone = sum(f.stat().st_size for f in Path(model.config.model.backbone).glob("*.safetensors"))
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < backbone


def losses_and_gradients(model: EvoModel, batch: Any) -> tuple[list[float], dict[str, torch.Tensor]]:
    """In training, with dropout from one seed."""
    torch.manual_seed(3)
    losses = model.train()(batch)
    losses.total.backward()
    parts = [float(part.detach()) for part in (losses.total, losses.contrastive, losses.memory)]
    return parts, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.fixture
def variants(
    make_adapted: Adapted, make_model: Callable[[TrainConfig], EvoModel], config: TrainConfig
) -> Callable[..., EvoModel]:
    """The same model with another setting, on `tiny` or on a family's backbone; LoRA's dropout counts in training."""

    def make(name: str, **settings: Any) -> EvoModel:
        chosen = config.model_copy(update=settings)
        return make_model(chosen) if name == "tiny" else make_adapted(name, chosen, lora_dropout=0.3)

    return make


@pytest.mark.parametrize("name", ["tiny", "llama", "gemma3_text"])
def test_recomputed_activations_change_nothing(
    name: str, variants: Callable[..., EvoModel], family_rows: Rows, rows: list[dict[str, Any]]
) -> None:
    batch = collate((rows if name == "tiny" else family_rows(name))[:2])
    kept, kept_gradients = losses_and_gradients(variants(name), batch)
    again, gradients = losses_and_gradients(variants(name, checkpoint_activations=True), batch)
    assert again == pytest.approx(kept, rel=1e-6)
    assert set(gradients) == set(kept_gradients)
    for part, gradient in kept_gradients.items():
        assert torch.allclose(gradients[part], gradient, rtol=1e-4, atol=1e-6), part
    if name != "tiny":
        other, _ = losses_and_gradients(variants(name).eval(), batch)
        assert other == pytest.approx(kept, rel=1e-6)  # train() is called there: dropout is on in all of them


def test_recomputation_keeps_less(variants: Callable[..., EvoModel], family_rows: Rows) -> None:
    """Bytes that autograd holds after the forward pass."""
    held = []
    for recompute in (False, True):
        sizes: dict[int, int] = {}

        def keep(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            losses = variants("llama", checkpoint_activations=recompute)(collate(family_rows("llama")[:1]))
        held.append(sum(sizes.values()))
        del losses
    assert held[1] < held[0] / 2


@pytest.mark.parametrize("name", ["tiny", "llama", "gemma3_text"])
def test_bfloat16_is_float32_within_its_error(
    name: str, variants: Callable[..., EvoModel], family_rows: Rows, rows: list[dict[str, Any]]
) -> None:
    found = []
    for precision in ("float32", "bfloat16"):
        model = variants(name, precision=precision)
        losses = model(collate((rows if name == "tiny" else family_rows(name))[:2]))
        losses.total.backward()
        assert losses.total.dtype == torch.float32
        found.append([float(losses.contrastive), float(losses.memory)])
        trained = [p for p in model.parameters() if p.requires_grad]
        assert {p.dtype for p in trained} | {p.grad.dtype for p in trained if p.grad is not None} == {torch.float32}
        assert {p.dtype for p in model.parameters() if not p.requires_grad} <= {getattr(torch, precision)}
    assert found[1] == pytest.approx(found[0], rel=0.02)
    assert found[1] != found[0]


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVO_HOME", str(tmp_path))
    assert source("qwen3-4b") == "Qwen/Qwen3-4B-Instruct-2507"
    assert source("qwen3-0.6b") == "Qwen/Qwen3-0.6B"
    assert source("owner/model") == "owner/model"
    for load in (lambda: EvoModel(on("smollm2"), 100), lambda: load_tokenizer("smollm2")):
        with pytest.raises(EvoError, match="run 'make smollm2' once"):
            load()
    (tmp_path / "backbones" / "smollm2").mkdir(parents=True)
    (tmp_path / "backbones" / "smollm2" / "config.json").write_text("{}")
    assert source("smollm2") == str(tmp_path / "backbones" / "smollm2")


def on(backbone: Path | str) -> TrainConfig:
    return TrainConfig(model=ModelConfig(backbone=str(backbone)))


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def half_a_config(folder: Path) -> None:
    (folder / "config.json").write_text((folder / "config.json").read_text()[:40])


def more_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3, "layer_types": None}))


def wider(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))


def nonsense(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "wide"}))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    "damage",
    [truncated, without_config, half_a_config, more_layers, wider, nonsense, pickled],
    ids=lambda d: d.__name__,
)
def test_a_damaged_folder_is_one_sentence(damage: Callable[[Path], None], llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(llama, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(EvoError) as caught:
        EvoModel(on(folder), 100)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "nothing was trained" in str(caught.value)


def t5(folder: Path) -> None:
    T5ForConditionalGeneration(T5Config(vocab_size=50, d_model=16, d_ff=16, num_layers=1, num_heads=2)).save_pretrained(
        folder
    )


def bart(folder: Path) -> None:
    BartForCausalLM(
        BartConfig(vocab_size=50, d_model=16, decoder_layers=1, decoder_ffn_dim=16, decoder_attention_heads=2)
    ).save_pretrained(folder)


def gpt2(folder: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2)).save_pretrained(folder)


def linear_attention(folder: Path) -> None:
    """Its layers carry a state along the row: no mask keeps packed segments apart."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = Qwen3_5TextConfig(
        vocab_size=50, num_hidden_layers=2, layer_types=["linear_attention", "full_attention"], **sizes
    )
    Qwen3_5ForCausalLM(config).save_pretrained(folder)


@pytest.mark.parametrize(
    ("make", "says"),
    [(t5, "no causal decoder"), (bart, "o_proj"), (gpt2, "q_proj"), (linear_attention, "linear_attention")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_no_backbone_is_one_sentence(make: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    make(tmp_path / "other")
    with pytest.raises(EvoError, match=says) as caught:
        EvoModel(on(tmp_path / "other"), 100)
    assert "\n" not in str(caught.value)
    assert "nothing was trained" in str(caught.value)


def test_unknown_backbone_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EvoError, match="no model for backbone") as caught:
        EvoModel(on(tmp_path / "nothing"), 100)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2, 3] if SOAKING else [3])
def test_bfloat16_with_recomputation_trains_under_deepspeed(
    stage: int, world: tuple[Path, Path], config: TrainConfig, llama: Path, tmp_path: Path
) -> None:
    """Frozen weights in bfloat16 beside trained ones in float32, on two ranks; the masters are what is published."""
    model = config.model.model_copy(update={"backbone": str(llama), "lora_rank": 4, "lora_alpha": 8})
    changed = config.model_copy(
        update={
            "model": model,
            "precision": "bfloat16",
            "checkpoint_activations": True,
            "zero_stage": stage,
            "batches_per_step": 2,
            "learning_rate": 1e-2,
            "steps": 3,
        }
    )
    folder = launch(*world, changed, tmp_path / "out", nproc=2, on_progress=lambda row: None)
    weights = load_file(folder / WEIGHTS)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    for adapter in ("memory", "retriever"):  # LoRA's B starts at zero: what is not zero was trained
        trained = [tensor for name, tensor in weights.items() if f"lora_B.{adapter}" in name]
        assert trained
        assert all(tensor.abs().sum() > 0 for tensor in trained)

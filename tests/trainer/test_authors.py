"""A checkpoint in the authors' layout, made up from a model of ours, becomes that model again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.episode import Draft
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.authors import import_authors
from evoembedding.trainer.embedder import EvoEmbedder
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.tokenizer.evo_tokenizer import load_tokenizer


def theirs(model: EvoModel) -> dict[str, Tensor]:
    """The state dictionary of their class for the same model: names and shapes of `model/evo_embedding.py`."""
    named = {
        "memory_queries": model.queries[None],
        "latent_to_mem.0.weight": model.memory_projection.weight,
        "latent_to_mem.0.bias": model.memory_projection.bias,
        "mem_to_latent.0.weight": model.latent_projection.weight,
        "mem_to_latent.0.bias": model.latent_projection.bias,
    }
    for layer in ("0", "2"):
        for part in ("weight", "bias"):
            named[f"mem_to_emb.{layer}.{part}"] = getattr(model.embedding_projection[int(layer)], part)
    for name, tensor in model.backbone.causal.state_dict().items():
        named["model." + name.replace(".memory.", ".memory_generator.")] = tensor
    named["emb_model.model.norm.weight"] = torch.ones(4)
    return {name: tensor.detach().clone().contiguous() for name, tensor in named.items()}


@pytest.fixture
def model(make_adapted: Callable[..., EvoModel]) -> EvoModel:
    return make_adapted("qwen3", TrainConfig(), latents=4, capacity=512, embedding=24, lora_rank=4, lora_alpha=8)


def save_shards(tensors: dict[str, Tensor], place: Path) -> Path:
    """Two safetensors files and their index, as Hugging Face writes large models."""
    place.mkdir()
    names, weight_map = sorted(tensors), {}
    for i, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-0000{i}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, str(place / file))
        weight_map.update(dict.fromkeys(part, file))
    (place / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return place


def save_torch(tensors: dict[str, Tensor], place: Path) -> Path:
    torch.save(tensors, place)
    return place


def only_trained(tensors: dict[str, Tensor], place: Path) -> Path:
    """Without the backbone's own weights."""
    kept = {n: t for n, t in tensors.items() if not n.startswith("model.") or ".lora_" in n}
    return save_shards(kept, place)


@pytest.mark.parametrize("save", [save_shards, save_torch, only_trained], ids=lambda f: f.__name__)
def test_the_same_embeddings(
    save: Callable[[dict[str, Tensor], Path], Path], model: EvoModel, drafts: list[Draft], tmp_path: Path
) -> None:
    backbone, segments = model.config.model.backbone, drafts[0].context.segments
    config = import_authors(save(theirs(model), tmp_path / "checkpoint"), backbone, tmp_path / "model")
    made = EvoEmbedder.load(tmp_path / "model").session()
    wanted = EvoEmbedder(model, load_tokenizer(backbone)).session()
    assert np.allclose(made.append(segments), wanted.append(segments), atol=1e-6)
    assert np.allclose(made.query("Where?"), wanted.query("Where?"), atol=1e-6)
    # The dropout of training aside, which no checkpoint tells.
    assert config.model.model_copy(update={"lora_dropout": 0.0}) == model.config.model


def test_their_config_and_the_options_say_what_shapes_do_not(model: EvoModel, tmp_path: Path) -> None:
    place, backbone = save_shards(theirs(model), tmp_path / "checkpoint"), model.config.model.backbone
    (place / "config.json").write_text(json.dumps({"lora_alpha": 5, "buffer_capacity": 40, "num_latents": 4}))
    told = import_authors(place, backbone, tmp_path / "told")
    assert (told.model.lora_alpha, told.model.capacity) == (5, 40)
    given = import_authors(place, backbone, tmp_path / "given", alpha=6, capacity=44)
    assert (given.model.lora_alpha, given.model.capacity) == (6, 44)


def test_what_is_there_is_not_written_over(model: EvoModel, tmp_path: Path) -> None:
    place, backbone = save_shards(theirs(model), tmp_path / "checkpoint"), model.config.model.backbone
    before = sorted(path.name for path in place.iterdir())
    for folder in (place, tmp_path, place / before[0]):
        with pytest.raises(EvoError, match="is there already, and would be lost"):
            import_authors(place, backbone, folder)
    assert sorted(path.name for path in place.iterdir()) == before


def test_bfloat16_weights_give_a_bfloat16_model(model: EvoModel, tmp_path: Path) -> None:
    tensors = {n: t.bfloat16() for n, t in theirs(model).items() if not n.startswith("model.") or ".lora_" in n}
    config = import_authors(save_torch(tensors, tmp_path / "c.bin"), model.config.model.backbone, tmp_path / "model")
    assert config.precision == "bfloat16"
    loaded = EvoEmbedder.load(tmp_path / "model").model
    assert torch.equal(loaded.queries, model.queries.bfloat16().float())


def unknown(tensors: dict[str, Tensor]) -> str:
    tensors["mem_to_moon.weight"] = torch.ones(2)
    return "mem_to_moon.weight"


def unknown_layer(tensors: dict[str, Tensor]) -> str:
    name = "model.base_model.model.model.layers.7.mlp.up_proj.lora_A.retriever.weight"
    tensors[name] = torch.ones(4, 32)
    return name


def missing(tensors: dict[str, Tensor]) -> str:
    del tensors["latent_to_mem.0.bias"]
    return "memory_projection.bias"


def missing_queries(tensors: dict[str, Tensor]) -> str:
    del tensors["memory_queries"]
    return "memory_queries"


def no_adapters(tensors: dict[str, Tensor]) -> str:
    for name in [n for n in tensors if ".lora_" in n]:
        del tensors[name]
    return "lora_A.memory_generator"


def wrong_shape(tensors: dict[str, Tensor]) -> str:
    tensors["mem_to_latent.0.weight"] = torch.ones(3, 3)
    return "mem_to_latent.0.weight"


def flat_queries(tensors: dict[str, Tensor]) -> str:
    tensors["memory_queries"] = tensors["memory_queries"][0]
    return "memory_queries"


def another_backbone(tensors: dict[str, Tensor]) -> str:
    name = "model.base_model.model.model.norm.weight"
    tensors[name] = tensors[name] + 1
    return name


@pytest.mark.parametrize(
    "spoil",
    [unknown, unknown_layer, missing, missing_queries, no_adapters, wrong_shape, flat_queries, another_backbone],
    ids=lambda f: f.__name__,
)
def test_what_does_not_fit_is_named(spoil: Callable[[dict[str, Tensor]], str], model: EvoModel, tmp_path: Path) -> None:
    tensors = theirs(model)
    named = spoil(tensors)
    with pytest.raises(EvoError) as caught:
        import_authors(save_torch(tensors, tmp_path / "c.bin"), model.config.model.backbone, tmp_path / "model")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


class Code:
    """What runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("this must not run",))


def no_checkpoint(place: Path) -> Path:
    return place / "nothing"


def empty_folder(place: Path) -> Path:
    return place


def cut_off(place: Path) -> Path:
    save_file({"memory_queries": torch.ones(1, 4, 32)}, str(place / "model.safetensors"))
    (place / "model.safetensors").write_bytes((place / "model.safetensors").read_bytes()[:-100])
    return place


def with_code(place: Path) -> Path:
    torch.save({"memory_queries": Code()}, place / "c.bin")
    return place / "c.bin"


def no_state(place: Path) -> Path:
    torch.save([1, 2], place / "c.bin")
    return place / "c.bin"


def lost_shard(place: Path) -> Path:
    save_file({"memory_queries": torch.ones(1, 4, 32)}, str(place / "model-1.safetensors"))
    (place / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "model-2.safetensors"}}))
    return place


@pytest.mark.parametrize(
    "make", [no_checkpoint, empty_folder, cut_off, with_code, no_state, lost_shard], ids=lambda f: f.__name__
)
def test_what_cannot_be_read_is_one_sentence(
    make: Callable[[Path], Path], llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = make(tmp_path)
    with pytest.raises(EvoError) as caught:
        import_authors(place, str(llama), tmp_path / "model")
    assert str(place) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "this must not run" not in capfd.readouterr().out

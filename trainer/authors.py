"""The weights that the authors publish, as a model folder of ours: the same model under other names.

Their class (MiG-NJU/EvoEmbedding, `model/evo_embedding.py`) holds the backbone with the adapters `memory_generator` and
`retriever`, the memory queries with a batch dimension, and the projections as `nn.Sequential`s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from evoembedding.schemas.configs import ModelConfig, TrainConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.text import shown
from evoembedding.trainer.backbones.names import reason
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model_files import INDEX, check_folder, finite, read_headers, read_object, weight_files
from evoembedding.trainer.model_folder import save_model
from evoembedding.trainer.tokenizer.evo_tokenizer import load_tokenizer

PARTS = {  # theirs, ours
    "model.": "backbone.causal.",
    "latent_to_mem.0.": "memory_projection.",  # f_m
    "mem_to_latent.0.": "latent_projection.",  # P_lat
    "mem_to_emb.": "embedding_projection.",
    "memory_queries": "queries",
}
ADAPTER, OURS = ".memory_generator.", ".memory."
BESIDE = "emb_model."  # a static embedding model that they keep in the same object, and that their model does not use
CAPACITY = 512  # the paper's C
Tensors = dict[str, Callable[[], Tensor]]


def import_authors(
    checkpoint: Path, backbone: str, folder: Path, alpha: int | None = None, capacity: int | None = None
) -> TrainConfig:
    """Write a model folder from a checkpoint of theirs.

    Args:
        checkpoint: a folder with safetensors files, or one such or torch file. A `config.json` in it gives alpha and
            capacity, where they are not given.
        backbone: that which it was trained on, by name, folder or id.
        folder: where to.
        alpha: of LoRA, which no shape tells; twice the rank by default, as in the paper.
        capacity: C; 512 by default, as in the paper.

    Returns:
        The config that the folder holds.

    Raises:
        EvoError: a parameter is unknown, missing, or of another shape; the backbone is another; the folder is in use.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EvoError(
            f"'{folder}' is there already, and would be lost; nothing was written; give the name of a new folder"
        )
    tensors = dict(_read(checkpoint))
    named = _named(checkpoint)
    config = _config(checkpoint, tensors, backbone, alpha or named.get("lora_alpha"), capacity or named.get("capacity"))
    tokenizer = load_tokenizer(backbone)
    with torch.device("meta"):
        shapes = EvoModel(config, tokenizer.vocabulary)
    wanted = {name: t.shape for name, t in {**shapes.state_dict(), **shapes.trained}.items()}
    theirs = {_renamed(name): (name, read) for name, read in tensors.items()}
    for ours, (name, read) in theirs.items():
        if ours is None or ours not in wanted:
            raise _unusable(checkpoint, f"it has a parameter '{shown(name, 200)}' that this model has not")
        if why := _unfit(_fitted(ours, read()), wanted[ours]):
            raise _unusable(checkpoint, f"'{name}' {why}")
    if missing := sorted(set(shapes.trained) - theirs.keys()):
        raise _unusable(checkpoint, f"{len(missing)} parameters are missing, first the one for our '{missing[0]}'")
    model = EvoModel(config, tokenizer.vocabulary)
    trained = model.trained
    own = {**model.state_dict(), **trained}
    for ours, (name, read) in theirs.items():
        found = _fitted(str(ours), read())
        if ours in trained:
            with torch.no_grad():
                trained[ours].copy_(found)
        elif not torch.equal(found.to(own[str(ours)].dtype), own[str(ours)]):
            raise _unusable(checkpoint, f"'{name}' differs from that of backbone '{backbone}', so it is another one")
    save_model(model, tokenizer, folder)
    return config


def _fitted(ours: str, found: Tensor) -> Tensor:
    return found.squeeze(0) if ours == "queries" else found


def _unfit(found: Tensor, wanted: torch.Size) -> str:
    """Why a tensor cannot be a parameter of this shape; '' if it can."""
    if found.shape != wanted:
        return f"is {list(found.shape)}, and the model's {list(wanted)}"
    if not found.is_floating_point():
        return f"is of type {found.dtype}, no floating-point number"
    if found.untyped_storage().nbytes() < found.numel() * found.element_size():
        return "claims more numbers than its file holds"
    return "" if finite(found) else "holds what is no number"


def _read(checkpoint: Path) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Names, and what reads their tensors: a checkpoint may hold its backbone, and is not read whole."""
    try:
        if checkpoint.is_dir():
            check_folder(checkpoint)
        files = sorted(checkpoint.glob("*.safetensors")) if checkpoint.is_dir() else [checkpoint]
        if checkpoint.is_dir() and (checkpoint / INDEX).exists():
            files = weight_files(checkpoint)
        read_headers(file for file in files if file.suffix == ".safetensors" and file.is_file())
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unusable(checkpoint, reason(error)) from error
    if not files:
        raise _unusable(checkpoint, "it holds no safetensors file")
    for file in files:
        try:
            if not file.is_file():
                raise FileNotFoundError("it is no file" if file.exists() else "it is not there")
            if file.suffix == ".safetensors":
                opened: Any = safe_open(str(file), "pt")
                names, read = opened.keys(), opened.get_tensor
            else:
                # The one place where a pickle is read: of such files `weights_only` runs no code.
                loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
                if not isinstance(loaded, dict) or not all(isinstance(t, Tensor) for t in loaded.values()):
                    raise _unusable(checkpoint, f"'{file.name}' is no state dictionary")
                names, read = loaded.keys(), loaded.__getitem__
            yield from ((name, partial(read, name)) for name in names if not name.startswith(BESIDE))
        except EvoError:
            raise
        except Exception as error:  # unpickling fails in as many ways as a file can be damaged
            raise _unusable(checkpoint, f"'{file.name}' cannot be read: {reason(error)}") from error


def _named(checkpoint: Path) -> dict[str, int]:
    """What their config says and no shape does."""
    try:
        read = read_object(checkpoint / "config.json")
    except (OSError, ValueError):
        return {}
    named = {"lora_alpha": read.get("lora_alpha"), "capacity": read.get("buffer_capacity")}
    return {name: value for name, value in named.items() if type(value) is int}


def _config(checkpoint: Path, tensors: Tensors, backbone: str, alpha: int | None, capacity: int | None) -> TrainConfig:
    """What the shapes say; the precision is that of the memory queries."""
    lora = next((n for n in tensors if ".lora_A." in n), "")
    needed = ("memory_queries", "mem_to_emb.0.weight", lora or "...lora_A.memory_generator.weight")
    for name in needed:
        if name not in tensors:
            raise _unusable(checkpoint, f"it has no '{name}'")
    queries, embedding, down = (tensors[name]() for name in needed)
    if queries.ndim != 3 or queries.shape[0] != 1:
        raise _unusable(checkpoint, f"'memory_queries' is {list(queries.shape)}, not 1 x K x D")
    if embedding.ndim != 2 or down.ndim != 2:
        raise _unusable(checkpoint, f"'{needed[1]}' or '{needed[2]}' is no matrix")
    rank = int(down.shape[0])
    try:
        model = ModelConfig(
            backbone=backbone,
            latents=queries.shape[1],
            capacity=capacity or CAPACITY,
            embedding=embedding.shape[0],
            lora_rank=rank,
            lora_alpha=alpha or 2 * rank,
        )
    except ValidationError as error:
        raise _unusable(checkpoint, error.errors()[0]["msg"]) from error
    return TrainConfig(model=model, precision="bfloat16" if queries.dtype == torch.bfloat16 else "float32")


def _renamed(name: str) -> str | None:
    """Our name of a parameter of theirs; None where there is none."""
    for theirs, ours in PARTS.items():
        if name.startswith(theirs):
            return (ours + name.removeprefix(theirs)).replace(ADAPTER, OURS)
    return None


def _unusable(checkpoint: Path, why: str) -> EvoError:
    return EvoError(
        f"checkpoint '{checkpoint}' cannot be imported: {why}; nothing was written; "
        "give the authors' checkpoint and the backbone that it was trained on"
    )

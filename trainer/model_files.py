"""Files of model folders, which come from anywhere: looked at before a library reads them or memory is taken for them.

What is refused raises a `ValueError` with the reason; callers say what followed from it.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

ENTRIES = 10_000  # files of a folder; those of large models are hundreds
CONFIG_BYTES = 8 << 20
TEXT_BYTES = 128 << 20  # Gemma 3's tokenizer.json has 33 MB
HEADER_BYTES = 16 << 20  # of a safetensors file: a million tensors'
TEXTS = {".json", ".jinja", ".txt", ".model", ".md", ".py"}
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
MOST = {
    "hidden_size": 1 << 16,
    "intermediate_size": 1 << 19,
    "num_hidden_layers": 1 << 9,
    "num_attention_heads": 1 << 12,
    "num_key_value_heads": 1 << 12,
    "head_dim": 1 << 12,
    "vocab_size": 4_000_000,
}
FLOATS = {"F64", "F32", "F16", "BF16"}


class Header(NamedTuple):
    """What a safetensors file says of a tensor."""

    dtype: str
    shape: tuple[int, ...]


def check_folder(folder: Path) -> None:
    """Refuse a folder that leads out of itself, holds what is no plain file, or texts too large to be read.

    The snapshots of Hugging Face's cache are links into the cache itself, and may be.

    Raises:
        ValueError: it is such a folder, or none.
    """
    if not folder.is_dir():
        raise ValueError("it is no folder" if folder.exists() else "it is not there")
    inside = [folder.resolve()]
    if inside[0].parent.name == "snapshots":
        inside.append(inside[0].parents[1] / "blobs")
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if number == ENTRIES:
            raise ValueError(f"it holds more than {ENTRIES:,} files")
        name = path.relative_to(folder)
        if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in inside):
            raise ValueError(f"'{name}' is a link that leads out of it")
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise ValueError(f"'{name}' is no plain file")
        if path.suffix in TEXTS and path.stat().st_size > TEXT_BYTES:
            raise ValueError(f"'{name}' has {path.stat().st_size:,} bytes, more than {TEXT_BYTES:,}")


def read_object(path: Path, limit: int = CONFIG_BYTES) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        ValueError: it does not, or is larger than `limit` bytes.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        # One more than may be: a longer file is met without reading it all.
        text = file.read(limit + 1)
    if len(text) > limit:
        raise ValueError(f"'{path.name}' has more than {limit:,} bytes")
    try:
        read = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"'{path.name}' is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"'{path.name}' is no JSON: {error}") from error
    if not isinstance(read, dict):
        raise ValueError(f"'{path.name}' holds no object")
    return read


def read_headers(paths: Iterable[Path]) -> dict[str, Header]:
    """The tensors of safetensors files by name; none is read.

    Raises:
        ValueError: a header is too large, or a tensor has two places.
        OSError, SafetensorError: a file cannot be read, or is none.
    """
    headers: dict[str, Header] = {}
    for path in paths:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
        if size > HEADER_BYTES:
            raise ValueError(f"'{path.name}' has a header of {size:,} bytes, more than {HEADER_BYTES:,}")
        with safe_open(str(path), "pt") as opened:
            for name in opened.keys():  # noqa: SIM118  not a dict
                part = opened.get_slice(name)
                if name in headers:
                    raise ValueError(f"'{path.name}' has tensor '{name}', which another of its files has too")
                headers[name] = Header(part.get_dtype(), tuple(part.get_shape()))
    return headers


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder that Hugging Face wrote: those its index lists, or the one there is.

    Raises:
        ValueError: the index cannot be read, or lists what is not in the folder.
        OSError: there is no weights file.
    """
    if not (folder / INDEX).exists():
        return [folder / "model.safetensors"]
    listed = read_object(folder / INDEX, TEXT_BYTES).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()):
        raise ValueError(f"'{INDEX}' has no 'weight_map' of file names")
    names = sorted(set(listed.values()))
    if odd := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
        raise ValueError(f"'{INDEX}' lists '{odd[0]}', which is no safetensors file in the folder")
    if gone := [name for name in names if not (folder / name).is_file()]:
        raise ValueError(f"'{INDEX}' lists '{gone[0]}', which is not there")
    return [folder / name for name in names]


def check_backbone(folder: Path) -> None:
    """Refuse a Hugging Face folder that leads out of itself, by links, by its index, or by an adapter's base model.

    Raises:
        ValueError: it does, or its files cannot be read.
        OSError, SafetensorError: its weights cannot be read.
    """
    check_folder(folder)
    if (folder / ADAPTER).exists():
        raise ValueError(f"it holds an '{ADAPTER}': it is an adapter to a model, and not one")
    config = read_object(folder / "config.json")
    if not (folder / "model.safetensors").exists() and not (folder / INDEX).exists():
        others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        beside = f", only '{others[0]}', which is pickled and may hold a program" if others else ""
        raise ValueError(f"it has no safetensors weights{beside}")
    if "transformers_weights" in config:
        raise ValueError("its config names other weights than its own")
    read_headers(weight_files(folder))


def check_sizes(config: Mapping[str, Any]) -> None:
    """Refuse a Hugging Face config of sizes that no model has: to look at its shapes alone would take for ever.

    Raises:
        ValueError: a size is above its bound.
    """
    for name, value in config.items():
        if isinstance(value, dict):
            check_sizes(value)
        elif name in MOST and not isinstance(value, list | None) and not 0 <= value <= MOST[name]:
            raise ValueError(f"its config has {name} {value:,}, and the most is {MOST[name]:,}")


def check_held(folder: Path, needed: int) -> None:
    """Refuse a folder whose config describes a much larger model than its files hold: memory would be taken for it.

    Raises:
        ValueError: it is such a folder.
    """
    held = sum(math.prod(header.shape) for header in read_headers(weight_files(folder)).values())
    if needed > 2 * held:  # some files lack a head that is tied to the embeddings
        raise ValueError(f"its config describes {needed:,} weights, and its files hold {held:,}")


def finite(tensor: Tensor) -> bool:
    """Whether no element is NaN or infinite. One pass, which makes no copy."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    least, most = torch.aminmax(tensor.detach())
    return bool(torch.isfinite(least) & torch.isfinite(most))

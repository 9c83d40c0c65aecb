"""Names of backbones: a config keeps the name, which means the same model on every machine."""

from __future__ import annotations

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from schemas.errors import EvoError
from schemas.home import home

HUB = {"qwen3-0.6b": "Qwen/Qwen3-0.6B", "qwen3-4b": "Qwen/Qwen3-4B-Instruct-2507"}  # arXiv 2606.21649: qwen3-4b
# What transformers raises where a folder or an id cannot be read.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, StrictDataclassError)
PREPARED = {"smollm2": "make smollm2"}  # made from a package, without a hub


def source(name: str) -> str:
    """What Hugging Face loads for a backbone's name: a folder, or a hub id. Other names are one or the other already.

    Raises:
        EvoError: the backbone is prepared by a command that has not run here.
    """
    if name not in PREPARED:
        return HUB.get(name, name)
    folder = home() / "backbones" / name
    if not (folder / "config.json").exists():
        raise EvoError(f"backbone '{name}' is not in '{folder}'; nothing was trained; run '{PREPARED[name]}' once")
    return str(folder)


def reason(error: Exception) -> str:
    """What such an error says, in one line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 300 else f"{said[:300]}..."

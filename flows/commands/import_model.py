"""The command `evo import-model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evoembedding.flows.terminal.console import Json, say


def import_model(
    checkpoint: Annotated[Path, typer.Argument(help="The authors' folder, or a safetensors or torch file.")],
    backbone: Annotated[str, typer.Argument(help="Which it was trained on: qwen3-4b, or a Hugging Face folder or id.")],
    folder: Annotated[Path, typer.Argument(help="The model folder to write.")],
    alpha: Annotated[
        int | None, typer.Option(min=1, help="Of LoRA; by default what their config says, or twice the rank.")
    ] = None,
    capacity: Annotated[
        int | None, typer.Option(min=1, help="Of the queue, in latents; by default what their config says, or 512.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a checkpoint that the paper's authors published as a model folder, which EvoEmbedder.load reads."""
    from evoembedding.trainer.authors import import_authors

    config = import_authors(checkpoint, backbone, folder, alpha, capacity)
    model = config.model
    text = (
        f"{folder}: {model.backbone}, {model.latents} latents a segment, capacity {model.capacity}, embeddings of "
        f"{model.embedding}, LoRA rank {model.lora_rank}, alpha {model.lora_alpha}"
    )
    say({"folder": str(folder), "train": config.model_dump()}, as_json, text)

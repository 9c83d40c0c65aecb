"""Where torch is not installed, what needs it says so in a sentence, and the rest works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
for name in ("torch", "tokenizers", "transformers", "safetensors", "peft", "deepspeed"):
    sys.modules[name] = None
from evoembedding.flows.commands.entry import main
main()
"""


def evo(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EVO_HOME": str(home)}
    return subprocess.run([sys.executable, "-c", SCRIPT, *words], env=environment, capture_output=True, text=True)


def test_models_say_what_they_need_and_data_needs_nothing(tmp_path: Path) -> None:
    evaluated = evo(tmp_path, "shard", "demo@1")
    assert evaluated.returncode == 1
    assert "is not installed" in evaluated.stderr
    assert "Traceback" not in evaluated.stderr
    assert evo(tmp_path, "dataset", "list").returncode == 0

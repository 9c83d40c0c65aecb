"""The examples run, on a tiny world, as their first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from evoembedding import Segment, Warehouse
from evoembedding.schemas.configs import ModelConfig, TrainConfig
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model_folder import save_model
from evoembedding.trainer.tokenizer.evo_tokenizer import train_tokenizer

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name: str, *words: str, home: Path, **environ: str) -> str:
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    environ = {**os.environ, "EVO_HOME": str(home), "PYTHONPATH": path, **environ}
    command = [sys.executable, str(ROOT / "examples" / name), *words]
    done = subprocess.run(command, cwd=home.parent, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_each_says_how_it_is_run_and_has_a_test(path: Path) -> None:
    assert f"python examples/{path.name} " in path.read_text()
    assert f'run("{path.name}"' in Path(__file__).read_text()


def test_read_and_retrieve(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = TrainConfig(model=ModelConfig(layers=2, hidden=32, heads=2, embedding=24))
    tokenizer = train_tokenizer((f"I live in town {n}, and my sister too." for n in range(200)), 512)
    save_model(EvoModel(config, tokenizer.vocabulary), tokenizer, tmp_path / "model")
    told = run("read_and_retrieve.py", str(tmp_path / "model"), home=tmp_path / "home").splitlines()
    assert told[0].startswith("after 1: I live in Lisbon. (")
    assert [line.split(":")[0] for line in told] == ["after 1", "after 2", "after 3", "scores", "without memory"]


@pytest.mark.slow
def test_own_documents_and_their_audit(tmp_path: Path, prefect_url: str) -> None:
    """A version of two documents; a third makes the next one; the audit sees their licences through SQL alone."""
    notes, home = tmp_path / "notes", tmp_path / "home"
    notes.mkdir()
    town = (
        "The harbour of {0} opens at dawn. Its lighthouse, the {0} Tower, was built by {1}. Ships from {2} bring salt. "
    )
    trees = (
        "In the hills grow cork oaks, which the {3} family has owned for long. Every autumn they hold a market there. "
    )
    names = (("Arvela", "Mirton", "Quessil", "Dorvane"), ("Belcora", "Hastrin", "Umbrel", "Fenwick"))
    for name in names:
        (notes / f"{name[0]}.md").write_text(f"# {name[0]}\n\n{(town + trees).format(*name)}\n")
    first = run("own_documents.py", str(notes), home=home, PREFECT_API_URL=prefect_url)
    assert "2 documents read: 2 new, 0 changed, 0 gone" in first
    assert "notes@1: " in first
    (notes / "third.md").write_text(f"# Cavella\n\n{(town + trees).format('Cavella', 'Jorune', 'Ketris', 'Lorimer')}\n")
    again = run("own_documents.py", str(notes), home=home, PREFECT_API_URL=prefect_url)
    assert "3 documents read: 1 new, 0 changed, 0 gone" in again
    assert "notes@2: " in again
    told = run("audit.py", str(home), "notes@2", home=home)
    assert "unknown  3" in told  # the licence of a document that states none
    assert "Cavella  1" in told
    assert "cloze  3" in told
    with Warehouse.open(home, read_only=True) as warehouse:
        texts = warehouse.query("SELECT unnest(segments).\"user\" AS text FROM contexts WHERE kind = 'web'")["text"]
    assert any("Cavella" in text for text in texts)
    assert Segment(user=texts[0]).text.startswith("User: ")

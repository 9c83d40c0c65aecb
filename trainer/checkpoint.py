"""The published model folder: safetensors, config, tokenizer, lineage and card. Never pickle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from schemas.configs import TrainConfig
from schemas.errors import EvoError
from schemas.files import file_digest
from schemas.identity import stored
from trainer.text import EvoTokenizer

if TYPE_CHECKING:
    from trainer.model import EvoModel

WEIGHTS, CONFIG, LINEAGE, CARD = "model.safetensors", "config.json", "lineage.json", "README.md"


def save_model(model: EvoModel, tokenizer: EvoTokenizer, folder: Path) -> None:
    """Write a model folder whole or not at all. A frozen backbone is named in the config, not copied."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    weights = {name: p.detach().cpu().contiguous() for name, p in model.trained.items()}
    save_file(weights, str(partial / WEIGHTS), metadata={"format": "pt"})
    config = {"model_type": "evoembedding", "vocabulary": tokenizer.vocabulary, "train": model.config.model_dump()}
    (partial / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
    tokenizer.save(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def load_model(folder: Path) -> tuple[EvoModel, EvoTokenizer]:
    """Read a model folder.

    Raises:
        EvoError: a file is missing, damaged, or does not fit the config.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        train, vocabulary = stored(TrainConfig, config["train"]), int(config["vocabulary"])
        weights = load_file(str(folder / WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError, ValidationError, SafetensorError) as error:
        raise _unusable(folder, str(error).splitlines()[0]) from error
    from trainer.model import EvoModel  # it takes seconds, which who only reads digests need not wait

    model = EvoModel(train, vocabulary)
    if odd := sorted(model.trained.keys() ^ weights.keys()):
        raise _unusable(folder, f"its weights and its config differ at {len(odd)} names, first '{odd[0]}'")
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise _unusable(folder, str(error).splitlines()[-1].strip()) from error
    return model.eval(), EvoTokenizer.load(folder)


def weights_digest(folder: Path) -> str:
    """BLAKE2b of the weights file."""
    return file_digest(folder / WEIGHTS)


def write_lineage(folder: Path, lineage: dict[str, Any]) -> None:
    """Write `lineage.json`, and a model card that says it in words."""
    (folder / LINEAGE).write_text(json.dumps(lineage, indent=1, ensure_ascii=False) + "\n")
    (folder / CARD).write_text(
        f"""---
library_name: evoembedding
pipeline_tag: sentence-similarity
---
# {lineage["model_id"]}

An EvoEmbedding model: it reads segments in order, keeps a latent memory, and embeds segments and queries with it.

```python
from schemas.episode import Segment
from trainer.embedder import EvoEmbedder

embedder = EvoEmbedder.load("{folder.name}")  # this folder
session = embedder.session()
session.append([Segment(user="I moved to Lisbon."), Segment(user="I live in Porto now.", assistant="Nice!")])
session.score(["Where do I live now?"])  # cosine similarities [queries, segments so far]
session.top("Where do I live now?", k=1)  # the best, with their scores
embedder.encode(["a text", "another"])  # each alone, without memory, as a static model
```

Append segments in the order of time, in the portions in which they come: those of one call are read in segment batches,
as in training. A query is put to the memory as it stands, and does not change it.

Trained on `{lineage["dataset"]}` (digest `{lineage["dataset_digest"]}`) by `{lineage["training_run_id"]}` with the code
at `{lineage["git_commit"]}`; `lineage.json` holds the ids, `evo trace {lineage["model_id"]}` the tree.
"""
    )


def _unusable(folder: Path, why: str) -> EvoError:
    return EvoError(f"model folder '{folder}' cannot be used: {why}; nothing was embedded; train or copy it again")

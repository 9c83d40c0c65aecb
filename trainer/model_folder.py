"""The published model folder: safetensors, config, tokenizer, lineage and card. Never pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import file_digest, whole_folder
from evoembedding.schemas.identity import stored
from evoembedding.schemas.model_folder import CARD, check_vouched, vouch
from evoembedding.trainer.backbones.names import reason
from evoembedding.trainer.model_files import FLOATS, Header, check_folder, finite, read_headers, read_object
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer

if TYPE_CHECKING:
    from evoembedding.trainer.model.evo_model import EvoModel

WEIGHTS, CONFIG = "model.safetensors", "config.json"
MODEL_TYPE = "evoembedding"
MOST_TOKENS = 4_000_000  # of a vocabulary; the largest of today have 262,144


def save_model(model: EvoModel, tokenizer: EvoTokenizer, folder: Path) -> None:
    """Write a model folder whole or not at all. A frozen backbone is named in the config, not copied."""
    weights = {name: p.detach().cpu().contiguous() for name, p in model.trained.items()}
    config = {"model_type": MODEL_TYPE, "vocabulary": tokenizer.vocabulary, "train": model.config.model_dump()}
    with whole_folder(folder) as partial:
        save_file(weights, str(partial / WEIGHTS), metadata={"format": "pt"})
        (partial / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
        tokenizer.save(partial)


def load_model(folder: Path) -> tuple[EvoModel, EvoTokenizer]:
    """Read a model folder, of whatever origin: nothing in it is run, nothing outside of it but its backbone is read,
    and no memory is taken for a model before its weights' shapes are seen to be there.

    Raises:
        EvoError: a file is missing, damaged, or does not fit the config.
    """
    import torch

    from evoembedding.trainer.model.evo_model import (
        EvoModel,  # it takes seconds, which who only reads digests need not wait
    )

    try:
        check_folder(folder)
        check_vouched(folder)
        train, vocabulary = _config(read_object(folder / CONFIG))
        tokenizer = EvoTokenizer.load(folder)
        # Without memory: the file may claim any size, and is not read before it is seen to fit.
        with torch.device("meta"):
            shapes = EvoModel(train, vocabulary)
        rows = shapes.backbone.vocabulary
        if tokenizer.last >= rows:
            raise ValueError(f"its tokenizer has token id {tokenizer.last:,}, and its model {rows:,} rows for them")
        _check_fit(read_headers([folder / WEIGHTS]), {n: tuple(p.shape) for n, p in shapes.trained.items()})
        weights = load_file(str(folder / WEIGHTS))
        if odd := sorted(name for name, tensor in weights.items() if not finite(tensor)):
            raise ValueError(f"{len(odd)} of its weights are not all numbers, first '{odd[0]}'")
        model = EvoModel(train, vocabulary)
        # A frozen backbone's weights are not in the file; the names of the others were compared above.
        model.load_state_dict(weights, strict=False)
    except EvoError:
        raise
    except Exception as error:  # what libraries raise over damaged files is without end
        raise _unusable(folder, reason(error)) from error
    return model.eval(), tokenizer


def _config(read: dict[str, Any]) -> tuple[TrainConfig, int]:
    if read.get("model_type") != MODEL_TYPE:
        raise ValueError(f"its config is of type {str(read.get('model_type'))[:80]!r}, not '{MODEL_TYPE}'")
    vocabulary = read.get("vocabulary")
    if type(vocabulary) is not int or not 0 < vocabulary <= MOST_TOKENS:
        raise ValueError(f"its vocabulary is {str(vocabulary)[:80]!r}, not a number from 1 to {MOST_TOKENS:,}")
    try:
        return stored(TrainConfig, read.get("train") or {"train": "is missing"}), vocabulary
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"its config 'train.{'.'.join(map(str, first['loc']))}': {first['msg']}") from error


def _check_fit(found: dict[str, Header], wanted: dict[str, tuple[int, ...]]) -> None:
    if odd := sorted(found.keys() ^ wanted.keys()):
        raise ValueError(f"its weights and its config differ at {len(odd)} names, first '{odd[0][:200]}'")
    for name, (dtype, shape) in found.items():
        if shape != wanted[name]:
            raise ValueError(f"its weight '{name}' is {list(shape)}, and by its config {list(wanted[name])}")
        if dtype not in FLOATS:
            raise ValueError(f"its weight '{name}' is of type {dtype}, no floating-point number")


def weights_digest(folder: Path) -> str:
    """BLAKE2b of the weights file."""
    return file_digest(folder / WEIGHTS)


def write_lineage(folder: Path, lineage: dict[str, Any]) -> None:
    """Write `lineage.json`, which vouches for the other files, and a model card that says it in words."""
    vouch(folder, lineage)
    (folder / CARD).write_text(
        f"""---
library_name: evoembedding
pipeline_tag: sentence-similarity
---
# {lineage["model_id"]}

An EvoEmbedding model: it reads segments in order, keeps a latent memory, and embeds segments and queries with it.

```python
from evoembedding import EvoEmbedder, Segment

embedder = EvoEmbedder.load("{folder.name}")  # this folder
session = embedder.session()
session.append([Segment(user="I moved to Lisbon."), Segment(user="I live in Porto now.", assistant="Nice!")])
session.score(["Where do I live now?"])  # cosine similarities [queries, segments so far]
session.top("Where do I live now?", k=1)  # the best, with their scores
embedder.encode(["a text", "another"])  # each alone, without memory, as a static model
```

Append segments in the order of time, in the portions in which they come: those of one call are read in segment batches,
as in training. A query is put to the memory as it stands, and does not change it.

Trained on `{lineage["dataset"]}` (digest `{lineage["dataset_digest"]}`) by `{lineage["training_run_id"]}` with
evoembedding {lineage["package_version"]}, the code at `{lineage["git_commit"]}`. `lineage.json` holds the ids,
`evo trace {lineage["model_id"]}` the tree.
"""
    )


def _unusable(folder: Path, why: str) -> EvoError:
    return EvoError(f"model folder '{folder}' cannot be used: {why}; nothing was embedded; train or copy it again")

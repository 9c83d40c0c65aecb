"""How a reader repeats what a report is about: the commands, and the recipe that they need.

A stored version comes in, and a model's config; commands, the recipe's JSON and remarks go out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from pydantic import ValidationError

from evoembedding.flows.report.charts import counted
from evoembedding.schemas.configs import Recipe, TrainConfig
from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Record
from evoembedding.schemas.identity import stored

FILE = "recipe.json"
COMMIT = re.compile("[0-9a-f]{7,64}")


@dataclass(frozen=True)
class Repeat:
    """Commands (none where the recipe is not one of this code's), the recipe's JSON, and remarks."""

    commands: tuple[str, ...]
    recipe: str
    remarks: tuple[str, ...]


class Subject(Record):
    """A version, and the model with its training config where the report is about one."""

    version: DatasetVersion
    model_id: str = ""
    config: str = ""


def repeat(subject: Subject, documents: int) -> Repeat:
    """The way from the sources to the version, and to the model where there is one."""
    version = subject.version
    recipe = _recipe(version.recipe)
    config = _config(subject.config)
    remarks = []
    if version.git_commit.endswith("+dirty"):
        remarks.append("The code held changes that were not committed: the commit alone may not give the same result.")
    if recipe is None:
        remarks.append("This version was not made by a recipe of this code; what is known of its making is below.")
        return Repeat((), _pretty(version.recipe), tuple(remarks))
    if config:
        # What the model was trained with: options of the command may have changed the recipe's.
        recipe = recipe.replace(train=config)
    commit = version.git_commit.removesuffix("+dirty")
    # Of code that was not under git, no commit is known.
    commands = [f"git checkout {commit}"] if COMMIT.fullmatch(commit) else []
    commands += [f"evo ingest DOCUMENTS         # {counted(documents, 'document')}, see above"] if documents else []
    commands += [
        f"evo synthesize {FILE}",
        f"evo dataset publish {version.name} --recipe {FILE}",
    ]
    remarks.append(f"The same content gives the digest {version.digest}.")
    if recipe.teaching:
        remarks.append("A teacher’s answers are repeated from the ledger; asked anew, it may answer otherwise.")
    if subject.model_id:
        # MODEL, since an id is over the weights: it is known only once they are there.
        commands += [f"evo train {version.label} --recipe {FILE}", f"evo evaluate MODEL --recipe {FILE}"]
        remarks.append("On other processors the weights, and so the model’s id, may differ in their last bits.")
    return Repeat(tuple(commands), _pretty(recipe.model_dump_json()), tuple(remarks))


def _recipe(text: str) -> Recipe | None:
    try:
        return stored(Recipe, text)
    except ValidationError:
        return None


def _config(text: str) -> TrainConfig | None:
    try:
        return stored(TrainConfig, text) if text else None
    except ValidationError:
        return None


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except json.JSONDecodeError:
        return text

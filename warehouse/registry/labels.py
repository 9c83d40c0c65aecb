"""The one resolver: what a user types for a model or anything else that has an id.

`support@3`, `support@champion`, `support` (its newest version) or the beginning of an id come in; an id goes out.
"""

from __future__ import annotations

from pathlib import Path

from evoembedding.schemas.dataset import ModelRecord
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.registry import RegisteredModel
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.root import Root
from evoembedding.warehouse.short_ids import whole_id

NEWEST = 5


def identity_of(warehouse: Warehouse, text: str) -> str:
    """The id of a model by its label; else the one id that begins so; else the text as it is.

    Raises:
        EvoError: a model of that name has no such version or alias, or several ids begin so.
    """
    found = find_version(warehouse, text)
    return found.model_id if found else whole_id(warehouse, text)


def model_of(warehouse: Warehouse, text: str, follows: str = "nothing was done") -> ModelRecord:
    """The model of a label, an id, or the beginning of one. The sentence says what `follows` where there is none.

    Raises:
        EvoError: there is no such model.
    """
    identity = identity_of(warehouse, text)
    rows = warehouse.query("SELECT * FROM lake.models WHERE model_id = ?", (identity,))
    if rows.is_empty():
        newest = warehouse.query("SELECT model_id FROM lake.models ORDER BY rowid DESC LIMIT ?", (NEWEST,))["model_id"]
        known = [*names(warehouse), *newest]
        raise EvoError(f"unknown model {text[:80]!r}; {follows}; there are: {', '.join(known) or 'none yet'}")
    return ModelRecord(**rows.row(0, named=True))


def folder_of(warehouse: Warehouse, model: ModelRecord, follows: str = "nothing was done") -> Path:
    """The folder of a model.

    Raises:
        EvoError: it is gone.
    """
    folder = Root.of(warehouse.home).bring(model.place)
    if not folder.is_dir():
        raise EvoError(
            f"the folder of model {called(warehouse, model.model_id)} is gone: '{folder}'; {follows}; restore it from "
            "a copy, or train it again"
        )
    return folder


def find_version(warehouse: Warehouse, label: str) -> RegisteredModel | None:
    """The version of `name@N` or `name@alias`, or the newest of `name`; None where no model has that name.

    Raises:
        EvoError: models have that name, and none of them that number or alias.
    """
    name, at, which = label.partition("@")
    versions = list_versions(warehouse, name)
    if not versions:
        return None
    if not at:
        return versions[-1]
    pointing = aliases(warehouse, name)
    number = pointing.get(which, 0)
    found = next((v for v in versions if which == str(v.number) or v.number == number), None)
    if found is None:
        raise EvoError(
            f"model '{name}' has no version and no alias {which[:70]!r}; nothing was done; its versions are 1 to "
            f"{versions[-1].number}, its aliases: {', '.join(pointing) or 'none'}"
        )
    return found


def version_of(warehouse: Warehouse, label: str) -> RegisteredModel:
    """The version of `name@N`, `name@alias`, or the newest of `name`.

    Raises:
        EvoError: there is none.
    """
    found = find_version(warehouse, label)
    if found is None:
        raise EvoError(
            f"no model is named {label.partition('@')[0][:70]!r}; nothing was done; the names are: "
            f"{', '.join(names(warehouse)) or 'none yet'}; 'evo model register MODEL NAME' gives one"
        )
    return found


def list_versions(warehouse: Warehouse, name: str) -> list[RegisteredModel]:
    """The versions of a name, oldest first; none as of a time before warehouses had a registry."""
    rows = warehouse.query_known("SELECT * FROM lake.registered_models WHERE name = ? ORDER BY number", (name,))
    return [RegisteredModel(**row) for row in rows]


def names(warehouse: Warehouse) -> list[str]:
    """All names of models."""
    return [row["name"] for row in warehouse.query_known("SELECT DISTINCT name FROM lake.registered_models ORDER BY 1")]


def aliases(warehouse: Warehouse, name: str) -> dict[str, int]:
    """The aliases of a name and the versions that they point to."""
    rows = warehouse.query_known(
        """SELECT alias, arg_max(number, sequence) AS number FROM lake.model_aliases WHERE name = ?
           GROUP BY alias HAVING arg_max(number, sequence) > 0 ORDER BY alias""",
        (name,),
    )
    return {row["alias"]: row["number"] for row in rows}


def called(warehouse: Warehouse, model_id: str) -> str:
    """A model with the names that it goes by, for a sentence: `model-0a1b (support@3, support@champion)`."""
    labels = labels_of(warehouse, model_id)
    return f"{model_id} ({', '.join(labels)})" if labels else model_id


def labels_of(warehouse: Warehouse, model_id: str) -> list[str]:
    """Under which names and aliases a model is known: `support@3`, `support@champion`."""
    rows = warehouse.query_known(
        "SELECT name, number FROM lake.registered_models WHERE model_id = ? ORDER BY name", (model_id,)
    )
    told = []
    for name, number in (row.values() for row in rows):
        told += [f"{name}@{number}", *(f"{name}@{a}" for a, n in aliases(warehouse, name).items() if n == number)]
    return told

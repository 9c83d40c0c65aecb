"""Where a model lies that a user names: a folder, or a model of the state folder by its name or id."""

from __future__ import annotations

from pathlib import Path

from evoembedding.schemas.home import home
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.registry.labels import folder_of, model_of


def model_place(named: Path | str) -> Path:
    """The folder as it is where it is there, is given as a path, or where there is no state folder to look in; else
    that of the model.

    Raises:
        EvoError: there is no such folder and no such model, or the model's folder is gone.
    """
    folder = Path(named)
    if not isinstance(named, str) or "/" in named or folder.exists() or not (home() / "warehouse").is_dir():
        return folder
    with Warehouse.open(home()) as warehouse:
        return folder_of(warehouse, model_of(warehouse, named, "nothing was embedded"), "nothing was embedded")

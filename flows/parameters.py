"""What flows are given: a recipe by name, file or object, and a home. Prefect reads parameters with these types.

A mistake is an `EvoError`, which Prefect shows as the message of the run's state; nothing has run by then.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

from evoembedding.flows.recipes import from_settings, recipe
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.home import home as home_of_environment

THE_WORKERS = Path("$EVO_HOME")  # as a default, it is looked up where and when a flow runs


def by_name(name: str) -> Any:
    """A recipe's name as a default: Prefect's pages then show a word, and no page of settings."""
    return name


def _recipe(given: object) -> Recipe:
    if isinstance(given, Recipe):
        return given
    if isinstance(given, str):
        return recipe(given)
    if isinstance(given, dict):
        return from_settings(given)
    raise EvoError(f"a recipe is a name, a file or an object, and no {type(given).__name__}; nothing was run")


def _home(given: object, info: ValidationInfo) -> Path:
    """The home, which is there.

    Raises:
        EvoError: it is not, and the flow was not told to create it; or it cannot be created.
    """
    default = str(given) == str(THE_WORKERS)
    said = Path(os.environ.get("EVO_HOME", "") if default else str(given))
    path = home_of_environment() if default else said.absolute()
    if path.is_dir():
        return path
    if not info.data.get("create_home"):
        raise EvoError(
            f"home '{path}' does not exist where this flow runs; nothing was run; set EVO_HOME of the worker, name "
            "another 'home', or have ingest, synthesize or pipeline make it by 'create_home'"
        )
    if not said.is_absolute():
        raise EvoError(
            f"home '{path}' would be made in the folder that this flow runs in, which may be a temporary one; "
            "nothing was run; name it by an absolute path, as 'home' or as EVO_HOME of the worker"
        )
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise EvoError(f"home '{path}' cannot be made: {error.strerror}; nothing was run; name another") from error
    return path


Nproc = Annotated[int, Field(ge=1)]
# A default is read as what is given would be.
RecipeParameter = Annotated[
    Recipe,
    BeforeValidator(_recipe),
    WithJsonSchema({"anyOf": [{"type": "string", "title": "name or file"}, {"type": "object", "title": "settings"}]}),
    Field(validate_default=True),
]
Home = Annotated[
    Path, BeforeValidator(_home), WithJsonSchema({"type": "string", "format": "path"}), Field(validate_default=True)
]

"""One namespace: a name is a dataset's or a model's, never both, so that `name@1` means one thing."""

from __future__ import annotations

import re

import duckdb

from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.catalog import fetch_all
from evoembedding.warehouse.short_ids import KINDS

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,63}")
_ID = re.compile(r"([a-z]+)-[0-9a-f]{1,20}")


def check_model_name(name: str) -> None:
    """Refuse a name for models that is not plain lower case, or that could be the beginning of an id.

    Raises:
        EvoError: it is such a name.
    """
    if not NAME.fullmatch(name):
        raise EvoError(
            f"model name {name[:70]!r} is not allowed; nothing was registered; use 1 to 64 of a-z, 0-9, '.', '_' "
            "and '-', starting with a letter or digit"
        )
    if (found := _ID.fullmatch(name)) and found[1] in KINDS:
        raise EvoError(
            f"model name '{name}' could be the beginning of an id; nothing was registered; take a name that does not "
            f"begin with '{found[1]}-'"
        )


def check_alias(alias: str) -> None:
    """Refuse an alias that could be a version's number, or is not plain lower case.

    Raises:
        EvoError: it is such an alias.
    """
    if not ALIAS.fullmatch(alias):
        raise EvoError(
            f"alias {alias[:70]!r} is not allowed; nothing was changed; use 1 to 64 of a-z, 0-9, '.', '_' and "
            "'-', starting with a letter, so that no alias looks like a version's number"
        )


def refuse_models_name(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """In a transaction: a dataset takes no name that models have.

    Raises:
        EvoError: models have it.
    """
    if fetch_all(con, "SELECT 1 FROM lake.registered_models WHERE name = ? LIMIT 1", [name]):
        raise EvoError(
            f"'{name}' is the name of a model ('evo model show {name}'); no dataset was published, since '{name}@1' "
            "would then mean two things; take another name"
        )


def refuse_datasets_name(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """In a transaction: a model takes no name that a dataset has.

    Raises:
        EvoError: a dataset has it.
    """
    if fetch_all(con, "SELECT 1 FROM lake.dataset_versions WHERE name = ? LIMIT 1", [name]):
        raise EvoError(
            f"'{name}' is the name of a dataset ('evo dataset show {name}'); no model was registered, since '{name}@1' "
            "would then mean two things; take another name"
        )

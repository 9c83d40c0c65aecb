"""Registered models of MLflow: the versions of the warehouse's names, and their aliases where these point today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from evoembedding.flows.mlflow_runs import MODEL_ID
from evoembedding.schemas.registry import RegisteredModel
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.registry.labels import list_versions, model_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

LABEL, NUMBER = "evo.label", "evo.number"  # tags
NO_SUCH_NAME = "INVALID_PARAMETER_VALUE"  # to an alias such as `latest`, `v1` or `a.b`


class Named(NamedTuple):
    """How many versions and aliases were set, and which aliases MLflow does not take."""

    versions: int
    aliases: int
    refused: tuple[str, ...]


def mirror_versions(client: MlflowClient, warehouse: Warehouse, name: str, runs: Mapping[str, str]) -> Named:
    """Register what MLflow lacks of a name, with the runs of its models, and point its aliases as they point here.

    Raises:
        mlflow.MlflowException: the server does not answer, or does not take it.
    """
    found = client.search_registered_models(f"name = '{name}'")
    registered = found[0] if found else client.create_registered_model(name)
    # Not by MLflow's numbers: it counts on where others have registered something under the name.
    known = {one.tags.get(MODEL_ID): str(one.version) for one in client.search_model_versions(f"name = '{name}'")}
    new = 0
    numbers: dict[int, str] = {}
    for version in list_versions(warehouse, name):
        if version.model_id not in known:
            known[version.model_id] = _register(client, warehouse, version, runs.get(version.model_id))
            new += 1
        numbers[version.number] = known[version.model_id]
    pointing = {alias: str(number) for alias, number in registered.aliases.items()}
    return Named(new, *_point(client, name, pointing, _moved(warehouse, name), numbers))


def _register(client: MlflowClient, warehouse: Warehouse, version: RegisteredModel, run_id: str | None) -> str:
    """A new version without artifacts, and MLflow's number of it."""
    # The server takes a path for its own; one with a scheme of ours is only kept.
    source = f"evo:/{quote(model_of(warehouse, version.model_id).place)}"
    tags = {MODEL_ID: version.model_id, LABEL: version.label, NUMBER: str(version.number)}
    return str(client.create_model_version(version.name, source, run_id, tags).version)


def _moved(warehouse: Warehouse, name: str) -> dict[str, int]:
    """Every alias that the name has ever had, and the version that it points to; 0 for none."""
    rows = warehouse.query(
        """SELECT alias, arg_max(number, sequence) FROM lake.model_aliases WHERE name = ? GROUP BY alias
           ORDER BY alias""",
        (name,),
    )
    return dict(rows.iter_rows())


def _point(
    client: MlflowClient, name: str, pointing: Mapping[str, str], wanted: Mapping[str, int], numbers: Mapping[int, str]
) -> tuple[int, tuple[str, ...]]:
    """Set and remove aliases; those that were never ours stay."""
    from mlflow import MlflowException

    moved, refused = 0, []
    for alias, number in wanted.items():
        if pointing.get(alias) == numbers.get(number):
            continue
        try:
            if number:
                client.set_registered_model_alias(name, alias, numbers[number])
            else:
                client.delete_registered_model_alias(name, alias)
        except MlflowException as error:
            if error.error_code != NO_SUCH_NAME:
                raise
            refused.append(f"{name}@{alias}")
        else:
            moved += 1
    return moved, tuple(refused)

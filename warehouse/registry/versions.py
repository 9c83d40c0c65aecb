"""A model gets a name: the next number of it, once."""

from __future__ import annotations

import duckdb

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import ModelRecord
from evoembedding.schemas.moments import now
from evoembedding.schemas.registry import CANDIDATE, RegisteredModel
from evoembedding.warehouse.catalog import Warehouse, fetch_frame, insert_new
from evoembedding.warehouse.registry.labels import folder_of
from evoembedding.warehouse.registry.moves import Why, move
from evoembedding.warehouse.registry.names import check_model_name, refuse_datasets_name


def check_free(warehouse: Warehouse, name: str) -> None:
    """Whether models can have that name, before one is trained for it.

    Raises:
        EvoError: it is not allowed, or is a dataset's.
    """
    check_model_name(name)
    warehouse.transaction(lambda con: refuse_datasets_name(con, name))


def register(warehouse: Warehouse, model: ModelRecord, name: str, by: str) -> tuple[RegisteredModel, bool]:
    """Give a model the next number of a name, and make it the candidate; and whether that is new. A model that has the
    name already keeps its number, so that a killed run is registered again.

    Raises:
        EvoError: the name is not allowed, or is a dataset's; or the model's folder is gone.
    """
    check_model_name(name)
    folder_of(warehouse, model, "nothing was registered")

    def work(con: duckdb.DuckDBPyConnection) -> tuple[RegisteredModel, bool]:
        refuse_datasets_name(con, name)
        rows = fetch_frame(con, "SELECT * FROM lake.registered_models WHERE name = ? ORDER BY number", [name])
        versions = [RegisteredModel(**row) for row in rows.iter_rows(named=True)]
        if known := next((v for v in versions if v.model_id == model.model_id), None):
            return known, False
        number = versions[-1].number + 1 if versions else 1
        version = RegisteredModel(name=name, number=number, model_id=model.model_id, registered_by=by, created_at=now())
        insert_new(con, "registered_models", to_frame(RegisteredModel, [version]))
        move(con, name, CANDIDATE, number, Why("registered", by))
        return version, True

    return warehouse.transaction(work)

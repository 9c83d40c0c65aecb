"""A look into the warehouse before a command starts Prefect."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from evoembedding.flows.settings import state

if TYPE_CHECKING:
    from evoembedding.warehouse.catalog import Warehouse

T = TypeVar("T")


def peek(ask: Callable[[Warehouse], T]) -> T:
    """Meet a mistake in the warehouse, or work that is done, before Prefect starts, which takes long."""
    from evoembedding.warehouse.catalog import Warehouse

    with Warehouse.open(state()) as warehouse:
        return ask(warehouse)

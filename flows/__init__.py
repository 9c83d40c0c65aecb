"""Prefect flows, the recipes they run, and the `evo` command. The only room with Prefect decorators."""

from evoembedding.flows import settings  # noqa: F401  first: Prefect reads its settings once, at import

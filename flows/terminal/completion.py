"""What a shell offers on Tab: ids, dataset versions and recipes that are there. In any trouble it offers nothing.

Read-only, and only where there is a warehouse: pressing Tab makes no state folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from evoembedding.schemas.home import home

MOST = 40


def _quiet(look: Callable[[str], Iterable[str]]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        try:
            offered = [text for text in look(incomplete) if text.startswith(incomplete) and text.isprintable()]
        except Exception:  # a shell shows what is printed here in the middle of the line that is being typed
            return []
        return offered[:MOST]

    return complete


@_quiet
def recipes(incomplete: str) -> Iterable[str]:
    """Names of recipes."""
    from evoembedding.flows.recipes import RECIPES

    return RECIPES


@_quiet
def benchmarks(incomplete: str) -> Iterable[str]:
    """Names of benchmarks."""
    from evoembedding.evaluation.benchmarks import BENCHMARKS

    return BENCHMARKS


@_quiet
def datasets(incomplete: str) -> Iterable[str]:
    """NAME@N, the newest first, and NAME@TAG."""
    return _ask("SELECT name || '@' || number FROM lake.dataset_versions ORDER BY created_at DESC, number DESC") + _ask(
        """SELECT name || '@' || tag FROM lake.dataset_tags
           GROUP BY name, tag HAVING arg_max(dataset_id, sequence) <> '' ORDER BY ALL"""
    )


@_quiet
def models(incomplete: str) -> Iterable[str]:
    """NAME@N and NAME@ALIAS, then ids, the newest first."""
    return [*named_models(incomplete), *_ask("SELECT model_id FROM lake.models ORDER BY created_at DESC")]


@_quiet
def named_models(incomplete: str) -> Iterable[str]:
    """NAME@N, the newest first, and NAME@ALIAS."""
    numbers = "SELECT name || '@' || number FROM lake.registered_models ORDER BY created_at DESC, number DESC"
    pointing = """SELECT name || '@' || alias FROM lake.model_aliases
                  GROUP BY name, alias HAVING arg_max(number, sequence) > 0 ORDER BY ALL"""
    return _ask(numbers) + _ask(pointing)


@_quiet
def model_names(incomplete: str) -> Iterable[str]:
    """Names of models."""
    return _ask("SELECT DISTINCT name FROM lake.registered_models ORDER BY ALL")


@_quiet
def ids(incomplete: str) -> Iterable[str]:
    """Whatever has an id; of nothing yet, models and dataset versions."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.short_ids import KINDS, beginning_with

    # Only behind a kind, which names one table: nobody waits for all of them at a Tab.
    if incomplete.partition("-")[0] in KINDS and "-" in incomplete and (home() / "warehouse").is_dir():
        with Warehouse.open(home(), read_only=True) as warehouse:
            return beginning_with(warehouse, incomplete, MOST)
    return [*models(incomplete), *datasets(incomplete)]


def _ask(sql: str) -> list[str]:
    from evoembedding.warehouse.catalog import Warehouse

    if not (home() / "warehouse").is_dir():
        return []
    with Warehouse.open(home(), read_only=True) as warehouse:
        return [str(row[0]) for row in warehouse.query(sql).iter_rows()]

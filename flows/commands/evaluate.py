"""The command `evo evaluate`, and how scores are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from evoembedding.flows.commands.options import MODEL, BenchmarkName, RecipeName
from evoembedding.flows.commands.peek import peek
from evoembedding.flows.recipes import recipe as named_recipe
from evoembedding.flows.settings import state
from evoembedding.flows.terminal import completion, prefect_server
from evoembedding.flows.terminal.console import Json, console, say_json, warn
from evoembedding.flows.terminal.tables import fitted

if TYPE_CHECKING:
    import polars as pl


def evaluate(
    model: Annotated[str, typer.Argument(help=MODEL, autocompletion=completion.models)],
    benchmark: BenchmarkName = "heldout",
    path: Annotated[str | None, typer.Option(help="The benchmark's file, where it has one.")] = None,
    recipe: RecipeName = "demo",
    as_json: Json = False,
) -> None:
    """Score a model, the same model without its memory, and the baselines."""
    from evoembedding.evaluation.benchmarks import read_benchmark
    from evoembedding.flows.evaluate import evaluate as flow
    from evoembedding.flows.evaluate import given, stored_scores, unscored
    from evoembedding.synth.simulator import simulators
    from evoembedding.warehouse.registry.labels import folder_of, model_of

    chosen = named_recipe(recipe)
    model = peek(lambda warehouse: model_of(warehouse, model, "nothing was evaluated").model_id)
    read = peek(lambda warehouse: read_benchmark(benchmark, given(warehouse, [model], path, simulators(chosen)[1])))
    scores = peek(lambda warehouse: stored_scores(warehouse, model, read))
    if unscored(scores):
        peek(lambda warehouse: folder_of(warehouse, model_of(warehouse, model), "nothing was evaluated"))
        prefect_server.ready(state())
        flow(model, benchmark, path, chosen, home=state())
        scores = peek(lambda warehouse: stored_scores(warehouse, model, read))
    else:
        warn("it is scored already")
    print_scores(scores, as_json)


def print_scores(scores: pl.DataFrame, as_json: bool) -> None:
    """Score rows as a table that fits the terminal, or as JSON."""
    from evoembedding.evaluation.report import OVERALL, score_table
    from evoembedding.flows.evaluate import GROUPS

    if as_json:
        say_json(scores.to_dicts())
    else:
        table = score_table(scores, (*GROUPS, *GROUPS["state"]))
        console.print(fitted(console, table.columns, table.rows, table.title, first=1 + len(OVERALL)))

"""The command `evo demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evoembedding.flows.commands.dataset import print_funnel
from evoembedding.flows.commands.evaluate import print_scores
from evoembedding.flows.commands.peek import peek
from evoembedding.flows.commands.report import report
from evoembedding.flows.commands.trace import trace
from evoembedding.flows.recipes import recipe as named_recipe
from evoembedding.flows.settings import state
from evoembedding.flows.terminal import prefect_server
from evoembedding.flows.terminal.console import Json, say_json, say_text

EXAMPLES = Path(__file__).parents[1] / "examples"


def demo(
    smallest: Annotated[bool, typer.Option(help="A minute's run that proves the path, not the quality.")] = False,
    as_json: Json = False,
) -> None:
    """Run the whole pipeline, offline and small: funnel, score table, lineage tree, report page."""
    from evoembedding.flows.evaluate import heldout, stored_scores
    from evoembedding.flows.pipeline import finished, pipeline
    from evoembedding.flows.report.page import write_report
    from evoembedding.warehouse.datasets.funnel import funnel
    from evoembedding.warehouse.registry.labels import model_of

    recipe = named_recipe("smallest" if smallest else "demo")
    source = str(EXAMPLES / "peps.parquet")
    # Before Prefect, which takes seconds to start: a second demo only shows what is there.
    model = finished(state(), recipe, source)
    if model and not as_json:
        say_text("Everything is done already; here is what the last run made.\n")
    if not model:
        prefect_server.ready(state())
        done = pipeline(source, recipe, home=state())
        model = peek(lambda warehouse: model_of(warehouse, done["model"]))
    scores = peek(lambda warehouse: stored_scores(warehouse, model.model_id, heldout(recipe)))
    if as_json:
        result = peek(
            lambda warehouse: {
                "model": model.model_dump(),
                "funnel": funnel(warehouse).to_dicts(),
                "scores": scores.to_dicts(),
                "report": str(write_report(warehouse, state(), model.model_id)),
            }
        )
        say_json(result)
        return
    print_funnel(False)
    print_scores(scores, False)
    if smallest:
        say_text(
            f"{recipe.train.steps} steps prove that the path works, and nothing of quality: any system may be first or "
            f"last here; 'evo demo' trains {named_recipe('demo').train.steps}"
        )
    say_text("")
    trace(model.model_id, limit=1)
    say_text("")
    report(model.model_id)

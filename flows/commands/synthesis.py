"""The commands `evo synthesize`, `retry` and `plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from evoembedding.flows.commands.dataset import print_funnel
from evoembedding.flows.commands.options import (
    BudgetCalls,
    BudgetMoney,
    BudgetTokens,
    Contexts,
    Documents,
    Model,
    Personas,
    RecipeArgument,
    Seed,
    Sizes,
    Teachers,
    chosen_recipe,
)
from evoembedding.flows.commands.peek import peek
from evoembedding.flows.commands.preview import say_preview
from evoembedding.flows.settings import state
from evoembedding.flows.terminal import prefect_server
from evoembedding.flows.terminal.console import Json, say, say_json, say_table, say_text, warn
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.errors import EvoError

MOST_PREVIEWED = 100  # items of a kind: more is a run, which keeps what it makes


def synthesize(
    recipe: RecipeArgument = "demo",
    contexts: Contexts = None,
    seed: Seed = None,
    teacher: Teachers = None,
    model: Model = None,
    personas: Personas = None,
    documents: Documents = None,
    budget_calls: BudgetCalls = None,
    budget_tokens: BudgetTokens = None,
    budget_money: BudgetMoney = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="failed|invalidated|DOCUMENT",
            help="What of it: what teachers left unanswered, what was made under other settings, what is of a document "
            "(its id); repeatable.",
        ),
    ] = None,
    preview: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_PREVIEWED, help="Show this many items of each kind, and their cost, and store none of them."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the episodes that the recipe lacks: simulated, from documents, and by teachers where it has any."""
    from evoembedding.flows.pending import chosen as part
    from evoembedding.flows.pending import finished
    from evoembedding.flows.synthesize import synthesize as flow

    sizes = Sizes(contexts, seed, personas, documents, budget_calls, budget_tokens, budget_money)
    chosen = chosen_recipe(recipe, teacher, model, sizes)
    if preview is not None:
        if only:
            raise EvoError("--preview shows the first items of all; nothing was made; leave --only out")
        say_preview(chosen, preview, as_json)
        return
    # Looked at without a lock, to spare Prefect's start; what is pending is looked for again under it.
    if peek(lambda warehouse: finished(warehouse, chosen, part(warehouse, chosen, only or ()))):
        warn("everything that the recipe asks for is there already" if not only else "nothing of that is to be done")
        new = 0
    else:
        prefect_server.ready(state())
        new = flow(chosen, only, home=state())["new_episodes"]
    _say_made(chosen, new, as_json)


def retry(
    recipe: RecipeArgument = "taught",
    seed: Seed = None,
    teacher: Teachers = None,
    model: Model = None,
    personas: Personas = None,
    documents: Documents = None,
    as_json: Json = False,
) -> None:
    """Ask teachers once more for what they left unanswered, and for nothing else."""
    from evoembedding.flows.synthesize import retry as flow

    chosen = chosen_recipe(recipe, teacher, model, Sizes(None, seed, personas, documents))
    if chosen.teaching is None:
        raise EvoError(f"recipe '{recipe}' has no teacher, so nothing can be retried; add --teacher URL --model NAME")
    prefect_server.ready(state())
    new = flow(chosen, home=state())["new_episodes"]
    _say_made(chosen, new, as_json)


def plan(
    recipe: RecipeArgument = "demo",
    contexts: Contexts = None,
    seed: Seed = None,
    teacher: Teachers = None,
    model: Model = None,
    personas: Personas = None,
    documents: Documents = None,
    as_json: Json = False,
) -> None:
    """Show what a run would do: items done, pending and invalidated by which component; calls, tokens, cost, hours."""
    from evoembedding.flows.teaching.plan import PLANNED, make_plan, plan_cells

    rows = make_plan(state(), chosen_recipe(recipe, teacher, model, Sizes(contexts, seed, personas, documents)))
    if as_json:
        say_json([row.model_dump() for row in rows])
    else:
        say_table(PLANNED, plan_cells(rows), "Plan: items by stage, and what is left to ask", keys=2)


def _say_made(recipe: Recipe, new: int, as_json: bool) -> None:
    """What a run has made: the funnel, and the report of the teaching, where there was any.

    Raises:
        EvoError: teachers left something unanswered.
    """
    from evoembedding.flows.teaching.synthesis_report import report_path
    from evoembedding.flows.teaching.unanswered import unanswered

    if not as_json:
        print_funnel(False)
        if recipe.teaching and (path := report_path(state(), recipe)).exists():
            say_text(path.read_text(encoding="utf-8"))
    say({"new_episodes": new}, as_json, f"{new} new episodes")
    # Also of a run that found nothing to do: what teachers left unanswered is still not there.
    if left := peek(lambda warehouse: unanswered(warehouse, recipe)):
        raise EvoError(left)

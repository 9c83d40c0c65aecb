"""Options that commands share, and the recipe that they come to."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import typer

from evoembedding.evaluation.benchmarks import BENCHMARKS, listed
from evoembedding.flows.recipes import RECIPES, changed, checked, with_teacher
from evoembedding.flows.recipes import recipe as named_recipe
from evoembedding.flows.terminal.completion import benchmarks, datasets, recipes
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.backbones.known import BACKBONES

RecipeName = Annotated[
    str, typer.Option("--recipe", help=f"One of: {', '.join(RECIPES)}; or a file.", autocompletion=recipes)
]
Dataset = Annotated[str, typer.Argument(help="NAME@N or NAME@TAG, or NAME for its newest.", autocompletion=datasets)]
BenchmarkName = Annotated[str, typer.Option("--benchmark", help=f"One of: {listed()}.", autocompletion=benchmarks)]
Decontaminate = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH",
        help="A benchmark's file or folder, repeatable: nothing of it is published. NAME=PATH reads a file as "
        f"that benchmark: {', '.join(one.name for one in BENCHMARKS.values() if one.file)}.",
    ),
]
Contexts = Annotated[int | None, typer.Option(min=0, help="Simulated training contexts (the recipe's by default).")]
Seed = Annotated[int | None, typer.Option(help="Seed of simulator and teaching (the recipe's by default).")]
Teachers = Annotated[
    list[str] | None, typer.Option("--teacher", metavar="URL", help="A teacher's base URL; repeat it for replicas.")
]
Model = Annotated[str | None, typer.Option(help="The model that the teacher serves.")]
Personas = Annotated[int | None, typer.Option(min=0, help="Dialogues to be written by the teacher.")]
Documents = Annotated[int | None, typer.Option(min=0, help="Documents that the teacher is asked about.")]
BudgetCalls = Annotated[int | None, typer.Option(min=0, help="Calls, over all runs of this recipe's name.")]
BudgetTokens = Annotated[int | None, typer.Option(min=0, help="Tokens, over all runs.")]
BudgetMoney = Annotated[float | None, typer.Option(min=0, help="Money by the recipe's prices, over all runs.")]
RecipeArgument = Annotated[
    str, typer.Argument(help=f"One of: {', '.join(RECIPES)}; or a .toml or .json file.", autocompletion=recipes)
]


MODEL = "A model: NAME@N, NAME@ALIAS, NAME for its newest version, an id or the beginning of one."
BACKBONE = f"{', '.join(BACKBONES)}, or a Hugging Face folder or id."


class Sizes(NamedTuple):
    """Options that stand in for settings of the recipe."""

    contexts: int | None = None
    seed: int | None = None
    personas: int | None = None
    documents: int | None = None
    calls: int | None = None
    tokens: int | None = None
    money: float | None = None


def chosen_recipe(name: str, endpoints: list[str] | None, model: str | None, sizes: Sizes) -> Recipe:
    """The recipe, with what the options change."""
    chosen = with_teacher(named_recipe(name), endpoints or [], model)
    seed = {"seed": sizes.seed}
    teaching = None
    if chosen.teaching:
        teaching = changed(
            chosen.teaching,
            dialogue=changed(chosen.teaching.dialogue, personas=sizes.personas),
            web=changed(chosen.teaching.web, documents=sizes.documents),
            budget=changed(chosen.teaching.budget, calls=sizes.calls, tokens=sizes.tokens, money=sizes.money),
            **seed,
        )
    # From personas on: contexts and seed are read by the simulator too.
    elif any(value is not None for value in sizes[2:]):
        raise EvoError(
            f"recipe '{name}' has no teacher, so personas, documents and budgets mean nothing; nothing was run; "
            "add --teacher URL --model NAME"
        )
    sized = changed(chosen, simulator=changed(chosen.simulator, contexts=sizes.contexts, **seed), teaching=teaching)
    return checked(sized.model_dump(), "the options")

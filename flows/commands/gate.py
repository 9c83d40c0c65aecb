"""The command `evo gate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from evoembedding.flows.commands.gate_table import gate_told, print_gate
from evoembedding.flows.commands.options import MODEL, RecipeName
from evoembedding.flows.recipes import changed
from evoembedding.flows.recipes import recipe as named_recipe
from evoembedding.flows.settings import state
from evoembedding.flows.terminal import completion
from evoembedding.flows.terminal.console import REFUSED, Json, say_json, say_text, warn

if TYPE_CHECKING:
    from evoembedding.warehouse.registry.gates import Judged


def gate(
    model: Annotated[str, typer.Argument(help=MODEL, autocompletion=completion.models)],
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="In place of the champion of its name.", autocompletion=completion.models),
    ] = None,
    recipe: RecipeName = "demo",
    benchmark: Annotated[
        str | None, typer.Option(help="In place of that of the recipe's gate.", autocompletion=completion.benchmarks)
    ] = None,
    path: Annotated[str | None, typer.Option(help="The benchmark's file, where it has one.")] = None,
    as_json: Json = False,
) -> None:
    """Judge a model by the recipe's gate: exit code 0 blessed, 3 not blessed, 1 where it could not be judged.

    It and the champion are asked the same questions. What was found is stored; evo model promote acts on it.
    """
    from evoembedding.flows.gate import gate as judge

    chosen = named_recipe(recipe)
    chosen = changed(chosen, gate=changed(chosen.gate, benchmark=benchmark, path=path))
    found, new = judge(state(), model, chosen, against or "")
    if not new:
        warn(f"it is judged already, on {found.rows[0].created_at:%Y-%m-%d %H:%M} UTC")
    if as_json:
        say_json(gate_told(found))
    else:
        print_gate(found)
        say_text(_sentence(found))
    if found.outcome != "blessed":
        raise typer.Exit(REFUSED if found.outcome == "refused" else 1)


def _sentence(found: Judged) -> str:
    """What follows, and of the first of its name, that it was compared with nothing."""
    if not found.baseline_id:
        judged = sum(row.direction == "at_least" for row in found.rows)
        by = f"by the {judged} rules of kind at_least alone" if judged else "by no rule, since none is of kind at_least"
        alone = f"; there is no champion to compare it with, so that it was judged {by}"
    else:
        alone = f"; it was compared with {found.baseline_id}"
    # With a baseline, only a want of questions leaves a rule unjudged.
    few = [row.question_slice for row in found.rows if row.passed is None and row.low is None and found.baseline_id]
    unjudged = f"; not judged for want of questions: {', '.join(dict.fromkeys(few))}" if few else ""
    return f"{found.model_id} is {found.outcome}{alone}{unjudged}"

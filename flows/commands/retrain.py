"""The command `evo retrain`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evoembedding.flows.commands.options import RecipeName
from evoembedding.flows.recipes import recipe as named_recipe
from evoembedding.flows.settings import state, written
from evoembedding.flows.terminal import completion, prefect_server
from evoembedding.flows.terminal.console import REFUSED, Json, say, warn
from evoembedding.schemas.retraining import TURNED_DOWN, RetrainDecision


def retrain(
    name: Annotated[str, typer.Argument(help="The model's name.", autocompletion=completion.model_names)],
    recipe: RecipeName = "demo",
    nproc: Annotated[int, typer.Option(min=1, help="Ranks on this machine that train.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be decided; do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model again if the recipe's policy has a reason to, and promote it if the gate blesses it.

    Exit code 0 where nothing was to be done or a model was promoted, 3 where the gate refused it. Every decision is a
    row of the table retrain_decisions. What was killed goes on by the same command.
    """
    from evoembedding.flows.decide import decide
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.decisions import keep_decision

    # A dry run stores nothing: it also works where the state folder can only be read.
    chosen, home = named_recipe(recipe), state() if dry_run else written(state())
    with Warehouse.open(home) as warehouse:
        decision = decide(warehouse, name, chosen)
        # A decision to train is stored by the flow, which takes it once more under its lock.
        if decision.decision == "keep" and not dry_run:
            keep_decision(warehouse, decision)
    if decision.decision == "keep" or dry_run:
        _say(decision, decision.model_dump(), as_json, dry_run)
        return
    warn(_sentence(decision, dry_run=False))
    prefect_server.ready(home)
    from evoembedding.flows.retrain import retrain as flow

    done = flow(name, chosen, nproc, home=home)
    # What the flow's small result leaves out is of no use here, and the record wants it.
    ended = RetrainDecision(**{"policy": "", "situation": "", "sequence": 2, **done})
    _say(ended, done, as_json, dry_run)
    if ended.outcome in TURNED_DOWN:
        raise typer.Exit(REFUSED)


def _say(decision: RetrainDecision, told: dict[str, Any], as_json: bool, dry_run: bool) -> None:
    say({**told, "dry_run": dry_run}, as_json, _sentence(decision, dry_run))


def _sentence(decision: RetrainDecision, dry_run: bool) -> str:
    name, why = decision.name, "; ".join(decision.reasons)
    if decision.outcome:
        made = f"{decision.model_id}, trained on {decision.dataset}"
        return {
            "promoted": f"{made}, is {name}@champion" + (f", by gate {decision.gate_id}" if decision.gate_id else ""),
            "refused": f"{made}, is refused by gate {decision.gate_id}; {name}@champion stays as it was",
            "waiting": f"{made}, is blessed by gate {decision.gate_id} and waits for a person to approve: "
            f"'evo model promote {name}@candidate'",
            "declined": f"{made}, was declined by a person; {name}@champion stays as it was",
            "unchanged": f"{made}, is what was in use before: {name}@champion stays as it was",
        }.get(decision.outcome, f"{made}: {decision.outcome}")
    if decision.decision == "keep":
        found = f"{decision.new_documents} new documents, {decision.new_episodes} new episodes"
        return f"{name} {'would stay' if dry_run else 'stays'} as it is: {why} ({found})"
    return f"{name} {'would be' if dry_run else 'is'} trained again: {why}"

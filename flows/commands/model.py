"""The `evo model` commands: those that read the registry; `model_changes.py` has those that change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evoembedding.flows.commands.model_changes import promote, register, rollback, tag
from evoembedding.flows.settings import state
from evoembedding.flows.terminal import completion
from evoembedding.flows.terminal.console import Json, say, say_json, say_table

if TYPE_CHECKING:
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.gates import Judged
    from evoembedding.warehouse.registry.states import Standing

model_app = typer.Typer(
    help="Models by name: versions, and which one is in use.", no_args_is_help=True, rich_markup_mode=None
)


@model_app.command("list", epilog="Example: evo model list   evo model list support --json")
def model_list(
    name: Annotated[
        str | None, typer.Argument(help="Of this name alone.", autocompletion=completion.model_names)
    ] = None,
    as_json: Json = False,
) -> None:
    """List named models: every version with its state, its aliases and when it was registered."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.labels import names, version_of
    from evoembedding.warehouse.registry.states import standings

    with Warehouse.open(state()) as warehouse:
        wanted = [version_of(warehouse, name).name] if name else names(warehouse)
        found = [one for each in wanted for one in standings(warehouse, each)]
    if as_json:
        say_json([_standing(one) for one in found])
    elif found:
        rows = [
            (
                one.version.label,
                one.state,
                ", ".join(one.aliases),
                one.version.model_id,
                f"{one.version.created_at:%Y-%m-%d %H:%M}",
            )
            for one in found
        ]
        say_table(("version", "state", "aliases", "model", "registered"), rows, "Models")
    else:
        say(None, False, "no model has a name yet; 'evo model register MODEL NAME' gives one")


@model_app.command("show", epilog="Example: evo model show support@champion   evo model show support")
def model_show(
    model: Annotated[
        str,
        typer.Argument(
            help="NAME@N or NAME@ALIAS, or NAME for its newest version.", autocompletion=completion.named_models
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show a version: its state, aliases, model, what it was trained on, and what its newest gate found."""
    from evoembedding.schemas.places import resolve
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.labels import model_of, version_of
    from evoembedding.warehouse.registry.states import standings

    with Warehouse.open(state()) as warehouse:
        version = version_of(warehouse, model)
        (one,) = (s for s in standings(warehouse, version.name) if s.version == version)
        record = model_of(warehouse, version.model_id)
        folder = resolve(record.place, state())
        told = _standing(one) | {"trained_on": _trained_on(warehouse, version.model_id), "digest": record.digest}
        told |= {"path": str(folder), "there": folder.is_dir(), "gate": _gate(one.gate)}
    if as_json:
        say_json(told)
        return
    lines = [f"{key:13} {_in_words(value)}" for key, value in told.items() if key != "gate"]
    say(None, False, "\n".join(lines))
    if one.gate:
        print_gate(one.gate)


@model_app.command("history", epilog="Example: evo model history support --json")
def model_history(
    name: Annotated[str, typer.Argument(help="The model's name.", autocompletion=completion.model_names)],
    as_json: Json = False,
) -> None:
    """List every move of the name's aliases, oldest first: when, what, by whom, why and by which gate."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.aliases import alias_history

    with Warehouse.open(state()) as warehouse:
        moves = alias_history(warehouse, name)
    if as_json:
        say_json(moves.to_dicts())
        return
    rows = [
        (
            f"{row['created_at']:%Y-%m-%d %H:%M:%S}",
            row["move"],
            f"{row['alias']} -> {row['name']}@{row['number']}" if row["number"] else f"{row['alias']} removed",
            row["moved_by"],
            row["gate_id"] or ("forced" if row["alias"] == "champion" and row["move"] == "promoted" else ""),
            row["reason"],
        )
        for row in moves.iter_rows(named=True)
    ]
    say_table(("when", "what", "alias", "by", "gate", "why"), rows, f"History of {name}", keys=3)


model_app.command("register", epilog="Example: evo model register model-0a1b support")(register)
model_app.command(
    "promote", epilog='Example: evo model promote support@3   evo model promote support@3 --force --why "the first one"'
)(promote)
model_app.command("rollback", epilog='Example: evo model rollback support --why "users complain"')(rollback)
model_app.command("tag", epilog="Example: evo model tag support@2 stable   evo model tag support stable --remove")(tag)


def print_gate(gate: Judged) -> None:
    """A gate as a table, a row a rule."""
    rows = [
        (
            "" if one.passed is None else "yes" if one.passed else "no",
            f"{one.direction.replace('_', ' ')} {one.threshold:g}",
            one.metric,
            one.question_slice,
            _figure(one.value),
            _figure(one.baseline_value),
            f"{one.low:+.3f} to {one.high:+.3f}" if one.low is not None and one.high is not None else "",
            one.questions,
            one.reason if one.severity == "error" else f"{one.reason} (warn)",
        )
        for one in gate.rows
    ]
    columns = ("holds", "rule", "metric", "slice", "score", "baseline", "interval", "questions", "why")
    say_table(columns, rows, f"{gate.gate_id}: {gate.outcome}", keys=4)


def _standing(one: Standing) -> dict[str, Any]:
    version = one.version.model_dump()
    return {"label": one.version.label, "state": one.state, "aliases": list(one.aliases), **version}


def _gate(gate: Judged | None) -> dict[str, Any] | None:
    if gate is None:
        return None
    return {
        "gate_id": gate.gate_id,
        "outcome": gate.outcome,
        "model_id": gate.model_id,
        "baseline_id": gate.baseline_id,
        "rules": [row.model_dump() for row in gate.rows],
    }


def _trained_on(warehouse: Warehouse, model_id: str) -> str:
    rows = warehouse.query("SELECT label FROM lake.model_versions WHERE model_id = ?", (model_id,))
    return str(rows["label"][0]) if len(rows) else "unknown"


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

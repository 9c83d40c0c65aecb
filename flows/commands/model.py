"""The `evo model` commands: those that read the registry; `model_changes.py` has those that change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evoembedding.flows.commands.gate_table import gate_told, print_gate
from evoembedding.flows.commands.model_changes import promote, register, rollback, tag
from evoembedding.flows.commands.model_compare import compare
from evoembedding.flows.commands.model_mirror import mirror
from evoembedding.flows.settings import state
from evoembedding.flows.terminal import completion
from evoembedding.flows.terminal.console import Json, say, say_json, say_table

if TYPE_CHECKING:
    from evoembedding.warehouse.catalog import Warehouse
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
        # By way of its version: a name that no model has is a mistake, and not an empty list.
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
        told |= {"path": str(folder), "there": folder.is_dir(), "gate": one.gate and gate_told(one.gate)}
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
    """List every move of the name's aliases and every gate, oldest first: when, what, by whom, why."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.history import history

    with Warehouse.open(state()) as warehouse:
        events = history(warehouse, name)
    if as_json:
        say_json([event.model_dump() for event in events])
        return
    rows = [
        (
            f"{event.created_at:%Y-%m-%d %H:%M:%S}",
            event.what,
            f"{name}@{event.number}" if event.number else "none",
            event.alias,
            event.by,
            event.gate_id,
            event.reason,
        )
        for event in events
    ]
    say_table(("when", "what", "version", "alias", "by", "gate", "why"), rows, f"History of {name}", keys=4)


model_app.command("compare", epilog="Example: evo model compare support@champion support@candidate")(compare)
model_app.command("register", epilog="Example: evo model register model-0a1b support")(register)
model_app.command(
    "promote", epilog='Example: evo model promote support@3   evo model promote support@3 --force --why "the first one"'
)(promote)
model_app.command("rollback", epilog='Example: evo model rollback support --why "users complain"')(rollback)
model_app.command("tag", epilog="Example: evo model tag support@2 stable   evo model tag support stable --remove")(tag)
model_app.command("mirror", epilog="Example: MLFLOW_TRACKING_URI=http://127.0.0.1:5000 evo model mirror")(mirror)


def _standing(one: Standing) -> dict[str, Any]:
    version = one.version.model_dump()
    return {"label": one.version.label, "state": one.state, "aliases": list(one.aliases), **version}


def _trained_on(warehouse: Warehouse, model_id: str) -> str:
    from evoembedding.warehouse.datasets.versions import trained_on

    version = trained_on(warehouse, model_id)
    return version.label if version else "unknown"


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)

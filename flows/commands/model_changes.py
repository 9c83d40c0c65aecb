"""The commands `evo model register`, `promote`, `rollback` and `tag`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from evoembedding.flows.commands.options import MODEL
from evoembedding.flows.settings import state, user
from evoembedding.flows.terminal import completion
from evoembedding.flows.terminal.console import Json, say

if TYPE_CHECKING:
    from evoembedding.warehouse.registry.promotion import Promotion

Name = Annotated[str, typer.Argument(help="The model's name.", autocompletion=completion.model_names)]
Why = Annotated[str, typer.Option("--why", help="Why, for the record.")]


def register(
    model: Annotated[str, typer.Argument(help=MODEL, autocompletion=completion.models)],
    name: Annotated[str, typer.Argument(help="The name; the version number is given.")],
    as_json: Json = False,
) -> None:
    """Give a model a name: it is NAME@N from then on, and the name's candidate. Once more, it changes nothing."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.labels import model_of
    from evoembedding.warehouse.registry.versions import register as give

    with Warehouse.open(state()) as warehouse:
        version, new = give(warehouse, model_of(warehouse, model, "nothing was registered"), name, user())
    _mirror()
    told = f"{version.model_id} is {version.label}{'' if new else ' already'}"
    say({**version.model_dump(), "label": version.label, "new": new}, as_json, told)


def promote(
    model: Annotated[
        str,
        typer.Argument(help="NAME@N or NAME@ALIAS, such as NAME@candidate.", autocompletion=completion.named_models),
    ],
    force: Annotated[bool, typer.Option("--force", help="Also without a gate that blessed it; say --why.")] = False,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Make a version the champion that is in use; the champion before it becomes NAME@previous.

    The newest gate between the two has to have blessed it: see `evo gate`.
    """
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.promotion import promote as make_champion

    if force and not why.strip():
        raise typer.BadParameter("--force needs --why TEXT: who reads the history will ask")
    with Warehouse.open(state()) as warehouse:
        done = make_champion(warehouse, model, user(), why, force)
    _announce(done, why)
    after = f" after {done.before}" if done.before else ""
    how = f", by gate {done.gate_id}" if done.gate_id else ", by force"
    _told(done, as_json, f"{done.version.label} is the champion{after}{how}" if done.new else "")


def rollback(name: Name, why: Why = "", as_json: Json = False) -> None:
    """Make the champion before this one the champion again; once more goes one further back."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.promotion import rollback as go_back

    with Warehouse.open(state()) as warehouse:
        done = go_back(warehouse, name, user(), why)
    _announce(done, why or "rolled back")
    _told(done, as_json, f"{done.version.label} is the champion again, in place of {done.before}")


def tag(
    model: Annotated[
        str, typer.Argument(help="NAME@N to tag; NAME to remove an alias.", autocompletion=completion.named_models)
    ],
    alias: Annotated[str, typer.Argument(help="The alias, of your choice, or `candidate`.")],
    remove: Annotated[bool, typer.Option("--remove", help="Let the alias point nowhere.")] = False,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Point an alias to a version, so that NAME@ALIAS means it; aliases can be moved, and every move is kept."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.registry.aliases import remove_alias, set_alias

    with Warehouse.open(state()) as warehouse:
        if remove:
            moved = remove_alias(warehouse, model.partition("@")[0], alias, user(), why)
        else:
            moved = set_alias(warehouse, model, alias, user(), why)
    _mirror()
    points = f"is {moved.name}@{moved.number}" if moved.number else "is removed"
    say(moved.model_dump(), as_json, f"{moved.name}@{moved.alias} {points}")


def _announce(done: Promotion, why: str) -> None:
    # After it is stored: a server that does not answer is told of, and undoes nothing.
    from evoembedding.flows.announce import promoted

    promoted(state(), done, user(), why)
    _mirror()


def _mirror() -> None:
    from evoembedding.flows.mlflow_mirror import mirror

    mirror(state())


def _told(done: Promotion, as_json: bool, told: str) -> None:
    fields = {"champion": done.version.label, "before": done.before, "new": done.new, "gate_id": done.gate_id}
    say({**done.version.model_dump(), **fields}, as_json, told or f"{done.version.label} is the champion already")

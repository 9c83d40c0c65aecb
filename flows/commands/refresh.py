"""The command `evo dataset refresh`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from evoembedding.flows.commands.expectation_table import expectations_told, print_expectations, refuse_draft
from evoembedding.flows.commands.peek import peek
from evoembedding.flows.settings import state
from evoembedding.flows.terminal import prefect_server
from evoembedding.flows.terminal.console import Json, say, warn
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.identity import stored

if TYPE_CHECKING:
    from evoembedding.schemas.dataset import DatasetVersion
    from evoembedding.warehouse.catalog import Warehouse


def refresh(
    name: Annotated[str, typer.Argument(help="The dataset's name.")],
    synthesize: Annotated[
        bool, typer.Option("--synthesize", help="Make first what the recipe lacks, teachers' part included.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Publish the next version of a dataset by the recipe of its newest one; nothing new, no version.

    Exit code 3 where it is not what the recipe expects, and so a draft.
    """
    from evoembedding.flows.build_dataset import publish_version
    from evoembedding.flows.pending import pending
    from evoembedding.flows.synthesize import synthesize as flow
    from evoembedding.warehouse.datasets.draft_versions import judged_of

    newest = peek(lambda warehouse: _newest(warehouse, name))
    recipe = recorded_recipe(newest)
    left = peek(lambda warehouse: pending(warehouse, recipe))
    if left and synthesize:
        prefect_server.ready(state())
        flow(recipe, home=state())
    elif left:
        warn(
            f"the recipe of {newest.label} has {left} contexts and documents yet to be worked on, which are not in it; "
            f"'evo dataset refresh {name} --synthesize' makes them first"
        )
    # The function, not the task: outside of a flow Prefect would first start a server for it.
    version = publish_version.fn(state(), name, recipe)
    judged = peek(lambda warehouse: judged_of(warehouse, version.dataset_id))
    new = version.number > newest.number
    same = "nothing is new" if version.label == newest.label else "that version holds what there is now"
    text = f"{version.label}: {version.episodes} episodes, digest {version.digest}"
    if judged and not as_json:
        print_expectations(version.label, judged)
    found = {**version.model_dump(), "new": new, **expectations_told(judged)}
    say(found, as_json, text if new else f"{text}; {same}, no version was made")
    refuse_draft(version, judged)


def recorded_recipe(version: DatasetVersion) -> Recipe:
    """The recipe that a version was published by.

    Raises:
        EvoError: it was imported, or its recipe is none of this code's.
    """
    try:
        return stored(Recipe, version.recipe)
    except ValidationError:
        raise EvoError(
            f"dataset {version.label} records no recipe that this code can run, as one that was imported does not; "
            "nothing was published; publish it by a recipe: 'evo dataset publish NAME --recipe RECIPE'"
        ) from None


def _newest(warehouse: Warehouse, name: str) -> DatasetVersion:
    from evoembedding.warehouse.datasets.versions import resolve

    if "@" in name:
        raise EvoError(
            f"{name[:80]!r} is one version, which never changes; nothing was published; give the name alone, for its "
            "next one"
        )
    # Also a retired one: its recipe is wanted, not its episodes.
    return resolve(warehouse, name, retired=True)

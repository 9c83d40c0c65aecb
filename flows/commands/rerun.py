"""The command `evo rerun`."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from evoembedding.flows.commands.peek import peek
from evoembedding.flows.settings import state
from evoembedding.flows.terminal import prefect_server
from evoembedding.flows.terminal.console import Json, say, warn
from evoembedding.schemas.errors import EvoError, RefusedError
from evoembedding.schemas.retraining import TURNED_DOWN


def rerun(
    run_id: Annotated[str, typer.Argument(help="A flow's run, as 'evo run list' and Prefect name it.")],
    as_json: Json = False,
) -> None:
    """Run a flow again with the parameters that were recorded of its run; what is done already is not done twice."""
    if run_id.startswith("run-"):
        _trained(run_id, as_json)
        return
    try:
        identity = UUID(run_id)
    except ValueError:
        raise EvoError(
            f"{run_id[:80]!r} is the id of no run; nothing was run; give one of 'evo run list', such as "
            "0190c2a4-5e1b-7c3d-9f2a-0b1c2d3e4f50"
        ) from None
    prefect_server.ready(state())
    from evoembedding.flows.rerun import again, recorded

    run = recorded(state(), identity)
    warn(f"running '{run.flow}' again")
    done = again(state(), run)
    say({"flow": run.flow, "result": done}, as_json, "\n".join(f"{name:16} {value}" for name, value in done.items()))
    # Last: what was done is shown, though the command then ends with 1.
    _check(run.flow, run.parameters, done)


def _trained(run_id: str, as_json: bool) -> None:
    """A training run is what its shards and settings say: the same again are the same run, and its model is there."""
    from evoembedding.flows.train import find_model
    from evoembedding.warehouse.registry.labels import folder_of
    from evoembedding.warehouse.short_ids import whole_id

    whole = peek(lambda warehouse: whole_id(warehouse, run_id))
    model = peek(lambda warehouse: find_model(warehouse, whole))
    if model is None:
        raise EvoError(
            f"no training run {whole[:80]} has ended; nothing was run; one that was broken off goes on with the same "
            "'evo train', or by the id of its flow: 'evo run list'"
        )
    peek(lambda warehouse: folder_of(warehouse, model))
    text = f"{whole} is done, and gave {model.model_id}: the same shards and settings are this run, nothing was trained"
    say({"flow": "train", "result": {"model": model.model_id, "training_run_id": whole}}, as_json, text)


def _check(flow: str, parameters: dict[str, Any], done: dict[str, Any]) -> None:
    """Fail where the flow's command would: its result is there, and not whole.

    Raises:
        EvoError: documents were rejected, or teachers left something unanswered.
        RefusedError: a model was trained again, and turned down.
    """
    from evoembedding.flows.recipes import from_settings, recipe
    from evoembedding.flows.teaching.unanswered import unanswered

    if flow == "ingest" and done["rejected"]:
        raise EvoError(f"{done['rejected']} rejected and kept in 'failures'; the rest is stored; mend them and rerun")
    if flow == "retrain" and done["outcome"] in TURNED_DOWN:
        raise RefusedError(f"{done['model_id']} was {done['outcome']}; {done['name']}@champion stays as it was")
    if flow in ("synthesize", "retry"):
        # Of a deployment's run only what it was given is recorded: the rest were the flow's defaults.
        given = parameters.get("recipe", "demo" if flow == "synthesize" else "taught")
        made_by = recipe(given) if isinstance(given, str) else from_settings(given)
        if left := peek(lambda warehouse: unanswered(warehouse, made_by)):
            raise EvoError(left)

"""Retrain: a decision whether a model is trained again, and where it is, everything from documents to the champion.

The decision is a row before anything is done, and another as it ended. Each stage does only what is missing: what was
killed is called again, and goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.context import FlowRunContext

from evoembedding.flows.alone import retrains_alone
from evoembedding.flows.announce import promoted
from evoembedding.flows.approval import approval
from evoembedding.flows.build_dataset import build_dataset
from evoembedding.flows.decide import decide, situation
from evoembedding.flows.gate import gate
from evoembedding.flows.lineage_events import emits
from evoembedding.flows.mlflow_mirror import mirror
from evoembedding.flows.parameters import THE_WORKERS, Home, Nproc, RecipeParameter, by_name
from evoembedding.flows.progress import tell
from evoembedding.flows.settings import user
from evoembedding.flows.synthesize import synthesize
from evoembedding.flows.train import train
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.errors import EvoError, InterruptionError
from evoembedding.schemas.moments import now
from evoembedding.schemas.registry import CHAMPION
from evoembedding.schemas.retraining import RetrainDecision, RetrainOutcome
from evoembedding.schemas.secrets import scrubbed
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.documents.texts import usable_documents
from evoembedding.warehouse.registry.decisions import keep_decision
from evoembedding.warehouse.registry.labels import aliases, version_of
from evoembedding.warehouse.registry.names import check_model_name
from evoembedding.warehouse.registry.promotion import promote, rolled_back

PROBLEM_LENGTH = 1000


@flow(name="retrain", persist_result=True, result_serializer="json")
@emits("retrain", of="name")
def retrain(
    name: str, recipe: RecipeParameter = by_name("demo"), nproc: Nproc = 1, home: Home = THE_WORKERS
) -> dict[str, Any]:
    """Train a model again where the recipe's policy has a reason to, and promote it if the gate blesses it.

    Args:
        name: The model's name; one that is not there yet is trained for the first time.
        recipe: Whose policy, stages, training and gate are used: the name of a recipe, a file, or its settings.
        nproc: Ranks on this machine that train.
        home: The state folder; by default `$EVO_HOME` of the worker.

    Raises:
        EvoError: another run is at work on this name, a stage failed, or the model could not be judged.
    """
    check_model_name(name)
    with retrains_alone(home, name):
        ended = decision = _decided(home, name, recipe)
        while decision.decision == "retrain":
            ended = _retrained(home, decision, recipe, nproc)
            # What came meanwhile started no run, since this one was at work: so that it looks once more.
            decision = _decided(home, name, recipe, again=True)
        return told(ended)


def told(decision: RetrainDecision) -> dict[str, Any]:
    """A decision as a small JSON object."""
    return decision.model_dump(mode="json", exclude={"policy", "situation", "sequence"})


def _decided(home: Path, name: str, recipe: Recipe, again: bool = False) -> RetrainDecision:
    """The decision, stored; or the one that was begun and has not ended, whose row is there. Where it is to keep the
    model `again`, after one was trained, no second row says so.
    """
    context = FlowRunContext.get()
    run_id = str(context.flow_run.id) if context and context.flow_run else ""
    with Warehouse.open(home) as warehouse:
        decision = decide(warehouse, name, recipe).replace(flow_run_id=run_id)
        if again and decision.decision == "keep":
            return decision
        keep_decision(warehouse, decision)
    tell(f"retrain: {decision.decision} {name}: {'; '.join(decision.reasons)}")
    return decision


def _retrained(home: Path, decision: RetrainDecision, recipe: Recipe, nproc: int) -> RetrainDecision:
    """The decision as it ended, stored.

    Raises:
        EvoError: a stage failed, or the model could not be judged.
    """
    try:
        ended = _carried_out(home, decision, recipe, nproc)
    except InterruptionError:
        raise  # it has not ended, and is gone on with
    except Exception as error:
        problem = scrubbed(str(error))[:PROBLEM_LENGTH] or type(error).__name__
        _store(home, _as_ended(decision, "failed", problem=problem))
        raise
    _store(home, ended)
    if ended.outcome == "unjudged":
        raise EvoError(
            f"{ended.model_id}, a new version of '{ended.name}', could not be judged by gate {ended.gate_id}; the "
            f"model in use stays; 'evo gate {ended.model_id}' says why, and the recipe's gate can be changed"
        )
    return ended


def _carried_out(home: Path, decision: RetrainDecision, recipe: Recipe, nproc: int) -> RetrainDecision:
    """Everything that is missing, up to the champion; the decision as it ended."""
    with Warehouse.open(home) as warehouse:
        documents = usable_documents(warehouse)  # what comes from here on may not be trained on
    synthesize(recipe, home=home)
    built = build_dataset(recipe, home=home)
    with Warehouse.open(home) as warehouse:
        there = situation(warehouse, decision.champion_id, recipe, documents)
    trained = train(built["dataset"], recipe, nproc, name=decision.name, home=home)
    outcome, gate_id = _settled(home, decision, trained["named"], recipe)
    made = {"model_id": trained["model"], "dataset": built["dataset"], "gate_id": gate_id, "situation": there}
    tell(f"retrain: {trained['named']} is {outcome}")
    return _as_ended(decision, outcome, **made)


def _settled(home: Path, decision: RetrainDecision, label: str, recipe: Recipe) -> tuple[RetrainOutcome, str]:
    """What becomes of the version that was trained, and by which gate ('' for none)."""
    with Warehouse.open(home) as warehouse:
        version = version_of(warehouse, label)
        if version.model_id == decision.champion_id or rolled_back(warehouse, version):
            # All that is there gives the model in use once more; or one that somebody has put out of use.
            return "unchanged", ""
        if aliases(warehouse, version.name).get(CHAMPION) == version.number:
            return "promoted", ""  # by the run that was killed
    judged, _ = gate(home, label, recipe)
    outcome = judged.outcome
    if outcome != "blessed":
        return outcome, judged.gate_id
    why = f"retrained by decision {decision.decision_id}"
    if recipe.gate.approval:
        said = approval(label, judged)
        if said is None or not said.promote:
            return "waiting" if said is None else "declined", judged.gate_id
        why += f"; approved{f': {said.why}' if said.why else ''}"
    with Warehouse.open(home) as warehouse:
        done = promote(warehouse, label, user(), why)
    promoted(home, done, user(), why)
    mirror(home)
    return "promoted", judged.gate_id


def _as_ended(decision: RetrainDecision, outcome: RetrainOutcome, **found: str) -> RetrainDecision:
    return decision.replace(sequence=2, outcome=outcome, created_at=now(), **found)


def _store(home: Path, decision: RetrainDecision) -> None:
    with Warehouse.open(home) as warehouse:
        keep_decision(warehouse, decision)

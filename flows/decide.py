"""Whether a model is to be trained again: the policy of a recipe, held against what the state folder holds.

Neither Prefect nor torch is imported here: `evo retrain` decides no in a second or two.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime

from evoembedding.evaluation.benchmarks.heldout import HELDOUT
from evoembedding.evaluation.metrics import METRICS
from evoembedding.flows.made_by import made_by
from evoembedding.flows.settings import user
from evoembedding.schemas.benchmark import MODEL, OWN
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.identity import identity
from evoembedding.schemas.ids import content_id, digest
from evoembedding.schemas.moments import now
from evoembedding.schemas.registry import CHAMPION
from evoembedding.schemas.retraining import RetrainDecision, RetrainPolicy, Seen
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import count_unpublished, matching_digest, trained_on
from evoembedding.warehouse.documents.texts import count_new, usable_documents
from evoembedding.warehouse.lineage.withdrawal_marks import withdrawn_versions
from evoembedding.warehouse.registry.decisions import tried, unfinished
from evoembedding.warehouse.registry.labels import aliases, find_version, model_of
from evoembedding.warehouse.registry.versions import check_free

DAY_S = 86_400
# What was measured last of a model on a benchmark, whichever version or worlds of it these were: a name says them
# behind its colon.
_EVALUATED = """SELECT value FROM lake.evaluations
    WHERE model_id = $model AND split_part(benchmark, ':', 1) = $benchmark AND metric = $metric
    AND question_type = 'all' AND system = $system ORDER BY rowid DESC LIMIT 1"""
_GATED = """SELECT if(model_id = $model, value, baseline_value) AS value FROM lake.gate_rules
    WHERE $model IN (model_id, baseline_id) AND split_part(benchmark, ':', 1) = $benchmark AND metric = $metric
    AND question_slice = 'all' ORDER BY created_at DESC, rowid DESC LIMIT 1"""


def decide(warehouse: Warehouse, name: str, recipe: Recipe) -> RetrainDecision:
    """Look, and decide; nothing is stored. What was begun before and has not ended is gone on with, by its first row.

    Raises:
        EvoError: no model can have that name, or the policy asks for a metric that is not measured.
    """
    _check(warehouse, name, recipe)
    if begun := unfinished(warehouse, name, recipe.name):
        return begun
    when = now()
    seen = look(warehouse, name, recipe, when)
    # The situation hashes the ids of all episodes and documents: it is asked for only where there is a reason.
    why, held, there = reasons(recipe.retrain, seen), "", ""
    if why:
        there = situation(warehouse, seen.champion_id, recipe)
        held = _held_back(warehouse, name, recipe.retrain, seen, there)
    return RetrainDecision(
        **seen.model_dump(),
        # With the process: the command decides outside of the lock that the flow holds.
        decision_id=content_id("decision", {"name": name, "when": when.isoformat(), "process": os.getpid()}),
        sequence=1,
        name=name,
        recipe=recipe.name,
        policy=recipe.retrain.model_dump_json(),
        situation=there,
        decision="retrain" if why and not held else "keep",
        reasons=(held,) if held else why or ("no bound of the policy is reached",),
        decided_by=user(),
        flow_run_id="",
        created_at=when,
    )


def look(warehouse: Warehouse, name: str, recipe: Recipe, when: datetime) -> Seen:
    """What there is of the model in use, and what has come since its dataset version."""
    asked = f"{name}@{CHAMPION}"
    used = find_version(warehouse, asked) if CHAMPION in aliases(warehouse, name) else None
    model = model_of(warehouse, used.model_id) if used else None
    version = trained_on(warehouse, model.model_id) if model else None
    # What curation left out of that version is not new: it would be left out again.
    where = made_by(recipe).replace(curation=version.curation if version else "")
    return Seen(
        champion_id=model.model_id if model else "",
        dataset_id=version.dataset_id if version else "",
        episodes=version.episodes if version else 0,
        new_documents=count_new(warehouse, version.snapshot if version else 0),
        new_episodes=count_unpublished(warehouse, where, version.dataset_id if version else ""),
        withdrawn_episodes=withdrawn_versions(warehouse).get(version.dataset_id, 0) if version else 0,
        # Never below 0: the clock may have been set back since.
        age_days=max(0.0, (when - model.created_at).total_seconds() / DAY_S) if model else None,
        score=_score(warehouse, model.model_id, recipe) if model and recipe.retrain.score_below else None,
    )


def reasons(policy: RetrainPolicy, seen: Seen) -> tuple[str, ...]:
    """The bounds of a policy that are reached, a sentence each."""
    if not seen.champion_id:
        return ("no model of this name is in use",)
    # Of an imported model no version is known, and so no episode: whatever there is, is new.
    share = seen.new_episodes / seen.episodes if seen.episodes else float(seen.new_episodes > 0)
    # What is not known reaches no bound: as of no age, and of the best score.
    age, score = seen.age_days or 0.0, 1.0 if seen.score is None else seen.score
    # A bound of 0 is switched off.
    bounds = (
        (
            0 < policy.new_documents <= seen.new_documents,
            f"{seen.new_documents} documents are new, of {policy.new_documents} that are asked for",
        ),
        (
            0 < policy.new_episodes <= seen.new_episodes,
            f"{seen.new_episodes} episodes are new, of {policy.new_episodes} that are asked for",
        ),
        (
            0 < policy.new_share <= share,
            f"{seen.new_episodes} episodes are new, {share:.1%} of the {seen.episodes} that it was trained on, of "
            f"{policy.new_share:.1%} that are asked for",
        ),
        (0 < policy.older_than_days < age, f"it is {age:.1f} days old, of {policy.older_than_days:g} at most"),
        (
            policy.withdrawn and seen.withdrawn_episodes > 0,
            f"{seen.withdrawn_episodes} of the {seen.episodes} episodes that it was trained on were made from what has "
            "been withdrawn",
        ),
        (
            score < policy.score_below,
            f"its {policy.score_metric} was last measured as {score:.3f}, of {policy.score_below:g} at least",
        ),
    )
    return tuple(reason for reached, reason in bounds if reached)


def situation(warehouse: Warehouse, champion_id: str, recipe: Recipe, documents: Iterable[str] | None = None) -> str:
    """A digest of what decides which model training would give, and what it would be held against: the model in use,
    the recipe, its episodes, and the documents that it could make more of (by default all that are usable now).
    """
    told = {
        "champion": champion_id,
        "recipe": identity(recipe, "retrain"),
        "episodes": matching_digest(warehouse, made_by(recipe)),
        "documents": sorted(usable_documents(warehouse) if documents is None else documents),
    }
    return digest(told)


def _check(warehouse: Warehouse, name: str, recipe: Recipe) -> None:
    check_free(warehouse, name)
    if name == recipe.name:
        raise EvoError(
            f"the model and the recipe, by which its dataset is called, are both named '{name}'; nothing was decided, "
            f"since '{name}@1' would mean two things; take another name for the model"
        )
    if recipe.retrain.score_below and recipe.retrain.score_metric not in METRICS:
        raise EvoError(
            f"the policy of recipe '{recipe.name}' asks for '{recipe.retrain.score_metric[:80]}', which is not "
            f"measured; nothing was decided; the metrics are: {', '.join(METRICS)}"
        )


def _held_back(warehouse: Warehouse, name: str, policy: RetrainPolicy, seen: Seen, there: str) -> str:
    """Why a model stays though a bound is reached; '' where it does not."""
    if before := tried(warehouse, name, there):
        return (
            f"nothing has come since decision {before.decision_id}, which trained {before.model_id} of all that there "
            f"is: {before.outcome}" + (f" by gate {before.gate_id}" if before.gate_id else "")
        )
    # What was withdrawn is not waited for: the model was trained on what may be used no longer.
    young = seen.age_days is not None and seen.age_days < policy.not_within_days
    if young and not (policy.withdrawn and seen.withdrawn_episodes):
        return f"it is {seen.age_days:.1f} days old, and stays for {policy.not_within_days:g}"
    return ""


def _score(warehouse: Warehouse, model_id: str, recipe: Recipe) -> float | None:
    """The model's score on the gate's benchmark: the lower one of what `evo evaluate` and gates measured last. A gate
    measures the model in use anew whenever it judges another against it; one that has too few own questions asks about
    held-out worlds, and so is it here.
    """
    asked = {"model": model_id, "metric": recipe.retrain.score_metric}
    name = recipe.gate.benchmark.partition(":")[0]
    for benchmark in (OWN, HELDOUT.name) if name == OWN else (name,):
        found: list[float] = [
            value
            for query, more in ((_EVALUATED, {"system": MODEL}), (_GATED, {}))
            for value in warehouse.query(query, {**asked, "benchmark": benchmark, **more})["value"]
            if value is not None
        ]
        if found:
            return min(found)
    return None

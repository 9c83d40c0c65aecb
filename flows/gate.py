"""Gate: a model, and the champion that it would follow -> a row a rule, on questions that both were asked just now.

Both are scored anew, and no score of a single question is kept: what is compared was then scored by one code on one
machine, and a mended metric or encoder cannot pass for a better model. What was found is kept, and not judged twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from evoembedding.evaluation.benchmarks import read_benchmark
from evoembedding.evaluation.benchmarks.heldout import HELDOUT
from evoembedding.evaluation.gate import VERSION, check, judge
from evoembedding.evaluation.score import score
from evoembedding.flows.announce import announce
from evoembedding.flows.evaluate import GROUPS, given
from evoembedding.flows.lineage_events import lineage_run, reads, writes
from evoembedding.flows.progress import tell
from evoembedding.flows.settings import user
from evoembedding.schemas.benchmark import OWN, BenchmarkData
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.dataset import ModelRecord
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.gate import Gate, Judgement
from evoembedding.schemas.identity import identity
from evoembedding.schemas.ids import content_id
from evoembedding.schemas.moments import now
from evoembedding.schemas.registry import CHAMPION, GateRow
from evoembedding.synth.simulator import simulators
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.openlineage import assets
from evoembedding.warehouse.registry.gates import Judged, deciding, gate_of, keep
from evoembedding.warehouse.registry.labels import aliases, find_version, folder_of, labels_of, model_of

FOLLOWS = "nothing was judged"


def gate(home: Path, model: str, recipe: Recipe, against: str = "") -> tuple[Judged, bool]:
    """Judge a model by the recipe's gate, against the champion of its name or what is given, and store what was found;
    and whether that is new.

    Raises:
        EvoError: there is no such model or its folder is gone, it is the champion itself, or a rule is on something
            that was not measured.
    """
    rules = recipe.gate
    with Warehouse.open(home) as warehouse:
        judged = model_of(warehouse, model, FOLLOWS)
        baseline = _baseline(warehouse, model, judged, against)
        read = _questions(warehouse, recipe, [judged.model_id, *([baseline.model_id] if baseline else [])])
        check(rules, read.conversations, GROUPS)  # before models are scored, which takes long
        gate_id = _gate_id(rules, judged, baseline, read)
        if found := gate_of(warehouse, gate_id):
            return _asked_again(warehouse, found), False
        with lineage_run(home, "gate", judged.model_id, "Judge a model against the champion.", __file__):
            models = [judged, *([baseline] if baseline else [])]
            reads(*(assets.model(home, one) for one in models), assets.benchmark(read))
            # Of both, before the first is scored.
            folders = [folder_of(warehouse, one, FOLLOWS) for one in models]
            of_model, *of_baseline = [_scores(folder, read) for folder in folders]
            judgements = judge(rules, of_model, of_baseline[0] if of_baseline else None, GROUPS)
            keep(warehouse, _rows(judgements, gate_id, judged, baseline, read, recipe))
            writes(assets.table("gate_rules", warehouse.snapshot(), rows=len(judgements)))
        # Read again: of two that judged at once, the rows of the first stay.
        stored = gate_of(warehouse, gate_id)
        assert stored is not None
    if stored.outcome == "refused":
        others = [("model", stored.baseline_id), ("gate", gate_id)]
        announce(home, "model.refused", ("model", judged.model_id), *others, payload={"why": stored.failed})
    return stored, True


def _questions(warehouse: Warehouse, recipe: Recipe, models: Sequence[str]) -> BenchmarkData:
    """What the models are asked: the recipe's benchmark, which none of them was trained on.

    Raises:
        EvoError: it cannot be read, or nothing can be asked.
    """
    rules = recipe.gate
    may = given(warehouse, models, rules.path or None, simulators(recipe)[1])
    if rules.benchmark == OWN:
        found = may.own("")
        if found.questions >= rules.min_questions and len(found.conversations) >= rules.min_conversations:
            return found
        tell(
            f"gate: {found.name} has {found.questions} questions in {len(found.conversations)} contexts that may be "
            f"asked, fewer than the {rules.min_questions} in {rules.min_conversations} that are judged by: both models "
            "are asked about the held-out worlds"
        )
        return read_benchmark(HELDOUT.name, may, FOLLOWS)
    return read_benchmark(rules.benchmark, may, FOLLOWS)


def _asked_again(warehouse: Warehouse, found: Judged) -> Judged:
    """What was found before; stored once more where another gate has judged the two since, as the newest decides."""
    newest = deciding(warehouse, found.model_id, found.baseline_id)
    if newest is None or newest.says == found.says:
        return newest or found
    # Under an id of its own, behind the newest one: rows are never changed, and the last gate decides.
    gate_id = content_id("gate", {"again": found.gate_id, "after": newest.gate_id})
    again = {"gate_id": gate_id, "decided_by": user(), "created_at": now()}
    keep(warehouse, [row.replace(**again) for row in found.rows])
    return gate_of(warehouse, gate_id) or found


def _baseline(warehouse: Warehouse, text: str, model: ModelRecord, against: str) -> ModelRecord | None:
    """What a model is compared with: what is given, or the champion of its name; None where that has none yet.

    Raises:
        EvoError: it is the model itself, or it has several names with a champion.
    """
    if not against:
        version = find_version(warehouse, text)
        # A model may have several names, and a name that was typed says which champion is meant.
        named = [version.name] if version else list(dict.fromkeys(_names(warehouse, model)))
        champions = [f"{name}@{CHAMPION}" for name in named if CHAMPION in aliases(warehouse, name)]
        if len(champions) > 1:
            raise EvoError(
                f"model {model.model_id} has several names, with a champion each: {', '.join(champions)}; {FOLLOWS}; "
                "say which with --against"
            )
        if not champions:
            return None
        against = champions[0]
    baseline = model_of(warehouse, against, FOLLOWS)
    if baseline.model_id == model.model_id:
        raise EvoError(
            f"'{against}' is model {model.model_id} itself; {FOLLOWS}; give another model, or --against another"
        )
    return baseline


def _names(warehouse: Warehouse, model: ModelRecord) -> list[str]:
    return [label.partition("@")[0] for label in labels_of(warehouse, model.model_id)]


def _gate_id(rules: Gate, model: ModelRecord, baseline: ModelRecord | None, read: BenchmarkData) -> str:
    told = {
        "code": VERSION,
        # Not where a file lies, whose content `measured_on` tells, nor who approves: neither changes what is found.
        "rules": identity(rules, "path", "approval"),
        "model": model.model_id,
        "baseline": baseline.model_id if baseline else "",
        "measured_on": read.digest,
    }
    return content_id("gate", told)


def _scores(folder: Path, read: BenchmarkData) -> pl.DataFrame:
    from evoembedding.trainer.embedder import EvoEmbedder  # torch takes seconds to import: mistakes are told before

    tell(f"gate: {folder.parent.name} on {read.questions} questions of {read.name}")
    return score(EvoEmbedder.load(folder), read.conversations)


def _rows(
    judgements: list[Judgement],
    gate_id: str,
    model: ModelRecord,
    baseline: ModelRecord | None,
    read: BenchmarkData,
    recipe: Recipe,
) -> list[GateRow]:
    when, who = now(), user()
    return [
        GateRow(
            **found.model_dump(),
            gate_id=gate_id,
            rule=number,
            model_id=model.model_id,
            baseline_id=baseline.model_id if baseline else "",
            benchmark=read.name,
            measured_on=read.digest,
            recipe=recipe.name,
            decided_by=who,
            created_at=when,
        )
        for number, found in enumerate(judgements, 1)
    ]

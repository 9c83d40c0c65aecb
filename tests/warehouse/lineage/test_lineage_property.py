"""Trace and impact are inverse: something is under a model exactly when the model is above it, on random worlds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as numbers

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import DatasetVersion, ModelRecord, ShardSet, TrainingRun
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, episodes_of, publish
from evoembedding.warehouse.lineage.impact import impact, model_ids
from evoembedding.warehouse.lineage.trace import documents_of, trace
from evoembedding.warehouse.lineage.tree import TraceNode
from evoembedding.warehouse.lineage.withdrawal import withdraw
from tests.records import shard_set, trained_model, training_run
from tests.soak import count
from tests.warehouse.world import make_documents, make_taught

worlds = numbers()


@st.composite
def plans(draw: st.DrawFn) -> list[tuple[set[int], set[int], str]]:
    """Of each context: its documents, the earlier contexts that it was made from, and which versions hold it."""
    size = draw(st.integers(1, 4))
    return [
        (
            draw(st.sets(st.integers(0, 2), max_size=2)),
            draw(st.sets(st.integers(0, n - 1), max_size=2)) if n else set(),
            draw(st.sampled_from(("both", "second", "none"))),
        )
        for n in range(size)
    ]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """One for all worlds: each has names of its own."""
    with Warehouse.open(tmp_path_factory.mktemp("home")) as warehouse:
        yield warehouse


def everything(node: TraceNode) -> Iterator[str]:
    """All ids in a tree, calls included."""
    yield node.id
    yield from node.facts.get("calls", ()) if node.kind != "teacher calls" else ()
    for child in node.children:
        yield from everything(child)


def add_model(warehouse: Warehouse, version: DatasetVersion, name: str) -> str:
    shards = shard_set(name, version.dataset_id)
    run, model = training_run(name, shards.shard_set_id), trained_model(name)
    warehouse.append_all(
        {
            "shard_sets": to_frame(ShardSet, [shards]),
            "training_runs": to_frame(TrainingRun, [run]),
            "models": to_frame(ModelRecord, [model]),
        }
    )
    return model.model_id


@pytest.mark.slow
@settings(max_examples=count(2, 50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans(), st.integers(0, 2))
def test_trace_and_impact_are_inverse_and_a_withdrawal_cuts_both(
    shared: Warehouse,
    plan: list[tuple[set[int], set[int], str]],
    withdrawn: int,
) -> None:
    world = f"w{next(worlds)}"
    documents = make_documents(3).with_columns(pl.col("document_id").str.replace("doc", world))
    name = dict(enumerate(documents["document_id"]))
    parts = [{"documents": documents}]
    for n, (of, sources, held) in enumerate(plan):
        made = make_taught(
            f"{world}-{n}", documents=[name[d] for d in sorted(of)], sources=[f"ctx-{world}-{s}" for s in sources]
        )
        parts.append(made | {"episodes": made["episodes"].with_columns(fingerprint=pl.lit(f"{world}-{held}"))})
    for part in parts:
        shared.append_all(part)
    models = []
    for number, kinds in enumerate((["both"], ["both", "second"])):
        if {held for _, _, held in plan} & set(kinds):
            where = EpisodeFilter(fingerprints=tuple(f"{world}-{kind}" for kind in kinds))
            version = publish(shared, f"{world}-{number}", "{}", None, where)
            models.append(add_model(shared, version, f"{world}-{number}"))
    under = {model: set(everything(trace(shared, model, limit=0))) for model in models}
    last = f"{world}-{len(plan) - 1}"
    rows = [f"ctx-{world}-{n}" for n in range(len(plan))] + [f"{kind}-{last}" for kind in ("q", "ep")]
    calls = [f"call-{last}-{part}" for part in ("context", "vote-1", "grounded")]
    for identity in (*name.values(), *rows, *calls):
        above = set(model_ids(impact(shared, identity)))
        assert above == {model for model in models if identity in under[model]}, identity
    for model in models:
        assert set(documents_of(shared, model)["document_id"]) == set(name.values()) & under[model]

    done = withdraw(shared, name[withdrawn], "", "someone", "")
    assert set(done.retrain) == {model for model in models if name[withdrawn] in under[model]}
    for successor in done.successors:
        assert name[withdrawn] not in set(everything(trace(shared, successor.dataset_id, limit=0)))
        assert len(episodes_of(shared, successor.dataset_id)) == successor.episodes

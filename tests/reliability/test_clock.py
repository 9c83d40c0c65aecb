"""The clock set back by 400 days between two processes: no order, and nothing that is left out, rests on the clock."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BEFORE = """
from evoembedding.warehouse.shards.shard_sets import build_shards
with Warehouse.open(home) as warehouse:
    warehouse.append_all({"documents": make_documents(10), **make_partition(0, 10)})
    version = publish(warehouse, "d", "{}", "c", EpisodeFilter())
    set_tag(warehouse, "d@1", "stable")
    made = build_shards(warehouse, version, WordTokenizer(), home / "shards")
    add_run(warehouse, made.shard_set_id, "1")
    answer(0)
    assert copy_calls(warehouse, ledger, "s") == 1
write_state(home / "runs" / "run-1" / "checkpoints", 2, {"weight": {"a": torch.ones(2)}})
(home / "shards" / "shards-left").mkdir()
"""
AFTER = """
assert datetime.now(UTC) < datetime.fromisoformat(sys.argv[2])
with Warehouse.open(home) as warehouse:
    old = list_versions(warehouse)[0]
    warehouse.append_all(make_partition(10, 16))
    publish(warehouse, "d", "{}", "c", EpisodeFilter())
    answer(1)
    assert copy_calls(warehouse, ledger, "s") == 1
    assert warehouse.query("SELECT count(*) FROM teacher_calls").item() == 2
    assert [call.item for call in ledger.calls("s")] == ["item 0", "item 1"]
    assert [v.label for v in list_versions(warehouse)] == ["d@1", "d@2"]
    assert list_versions(warehouse)[1].created_at < old.created_at, "the clock was not set back"
    assert resolve(warehouse, "d").label == "d@2"
    set_tag(warehouse, "d@2", "stable")
    assert resolve(warehouse, "d@stable").label == "d@2"
    add_run(warehouse, warehouse.query("SELECT shard_set_id FROM shard_sets").item(), "2")
    assert [model["model_id"] for model in models_of(warehouse, old.dataset_id)] == ["model-1", "model-2"]
    assert not any(expire(warehouse).rows.values())
with Warehouse.open(home, at=old.snapshot) as warehouse:
    assert warehouse.query("SELECT count(*) FROM episodes").item() == 10
folder = home / "runs" / "run-1" / "checkpoints"
write_state(folder, 4, {"weight": {"a": torch.ones(2)}})
assert newest_state(folder)[0].name == "step-00000004"
found = list(examine(home, "model.safetensors", remove_orphans=True))
assert [f.name for f in found if f.kind == "orphan"] == ["shards-left"], found  # made in the future: it is young
assert not [f for f in found if f.kind == "removed"]
"""
COMMON = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
import torch
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import ModelRecord, TrainingRun
from evoembedding.schemas.moments import now
from tests.records import teacher_call, trained_model, training_run
from tests.reliability.test_damage import asked
from tests.warehouse.world import WordTokenizer, make_documents, make_partition
from evoembedding.trainer.training.checkpoints import newest_state, write_state
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.upkeep.doctor import examine
from evoembedding.warehouse.ledger import SqliteLedger
from evoembedding.warehouse.datasets.outcomes import copy_calls
from evoembedding.warehouse.datasets.overview import models_of
from evoembedding.warehouse.upkeep.retention import expire
from evoembedding.warehouse.datasets.tags import set_tag
from evoembedding.warehouse.datasets.versions import EpisodeFilter, list_versions, publish, resolve
home = Path(sys.argv[1])
ledger = SqliteLedger.open(home)

def answer(n):
    call = teacher_call(asked(n).call_id, "large", item=f"item {n}", created_at=now())
    ledger.record(call, asked(n))

def add_run(warehouse, shards, name):
    run = training_run(name, shards, created_at=now())
    model = trained_model(name, created_at=now())
    warehouse.append_all({"training_runs": to_frame(TrainingRun, [run]), "models": to_frame(ModelRecord, [model])})
"""


@pytest.mark.slow
def test_a_clock_that_is_set_back(tmp_path: Path) -> None:
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed")
    run([], BEFORE, tmp_path)
    run(["faketime", "-f", "-400d"], AFTER, tmp_path)


def run(before: list[str], script: str, home: Path) -> None:
    from datetime import UTC, datetime

    words = [*before, sys.executable, "-c", COMMON + script, str(home), datetime.now(UTC).isoformat()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

"""Records of made-up worlds, whole but for what a test is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from evoembedding.schemas.dataset import Evaluation, ExpectationRow, ModelRecord, ShardSet, TrainingRun
from evoembedding.schemas.registry import GateRow
from evoembedding.schemas.teacher import TeacherCall

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def teacher_call(call_id: str, model: str, **changes: Any) -> TeacherCall:
    """An answered call for the context of the first dialogue."""
    usual: dict[str, Any] = {
        "scope": "s",
        "stage": "contexts",
        "item": "dialogue:1",
        "teacher": "t",
        "endpoint": "http://127.0.0.1:1/v1",
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "seconds": 0.1,
        "cost": 0.5,
        "finish_reason": "stop",
        "valid": True,
        "content": "{}",
        "created_at": NOW,
    }
    return TeacherCall(**{**usual, "call_id": call_id, "model": model, **changes})


def shard_set(name: str, dataset_id: str) -> ShardSet:
    """`shards-NAME` of a dataset version; no shard is there."""
    return ShardSet(
        shard_set_id=f"shards-{name}",
        dataset_id=dataset_id,
        tokenizer_digest="t" * 64,
        place=f"shards/shards-{name}",
        rows=1,
        manifest_digest="m" * 64,
        created_at=NOW,
    )


def training_run(name: str, shard_set_id: str, **changes: Any) -> TrainingRun:
    """`run-NAME` over a shard set."""
    usual: dict[str, Any] = {"config": "{}", "steps": 5, "final_loss": 0.5, "seconds": 1.0, "created_at": NOW}
    return TrainingRun(**{**usual, "training_run_id": f"run-{name}", "shard_set_id": shard_set_id, **changes})


def trained_model(name: str, **changes: Any) -> ModelRecord:
    """`model-NAME` of `run-NAME`; no file is there."""
    usual: dict[str, Any] = {"place": f"runs/run-{name}/model", "digest": "d" * 64, "created_at": NOW}
    return ModelRecord(**{**usual, "model_id": f"model-{name}", "training_run_id": f"run-{name}", **changes})


def score(model: str, **changes: Any) -> Evaluation:
    """`eval-1` of a model: three in four of ten held-out questions."""
    usual: dict[str, Any] = {"benchmark": "heldout", "system": "evo", "question_type": "all", "metric": "recall@1"}
    usual |= {"value": 0.75, "low": 0.7, "high": 0.8, "questions": 10}
    return Evaluation(**{**usual, "evaluation_id": "eval-1", "model_id": model, **changes})


def gate_row(gate_id: str, model: str, baseline: str = "", **changes: Any) -> GateRow:
    """The first rule of a gate, which passed: a model that may be worse than a baseline by no more than 0.03."""
    usual: dict[str, Any] = {"metric": "nDCG@10", "question_slice": "all", "direction": "not_worse_than"}
    usual |= {"threshold": 0.03, "value": 0.7, "baseline_value": 0.68, "low": 0.01, "high": 0.03, "questions": 600}
    usual |= {"conversations": 120, "severity": "error", "passed": True, "reason": "it is worse by 0.000 at most"}
    usual |= {"rule": 1, "benchmark": "heldout", "measured_on": "b" * 64, "recipe": "demo", "decided_by": "me"}
    return GateRow(
        **{**usual, "gate_id": gate_id, "model_id": model, "baseline_id": baseline, "created_at": NOW, **changes}
    )


def expectation_row(dataset_id: str, **changes: Any) -> ExpectationRow:
    """The first expectation of a version, which failed: it is a draft."""
    usual: dict[str, Any] = {"measure": "episodes", "part": "", "direction": "at_least", "threshold": 1000.0}
    usual |= {"value": 10.0, "parent_value": None, "drift": None, "severity": "error", "passed": False}
    usual |= {"reason": "it is 10, and 1000 or more is asked for", "sequence": 1, "rule": 1, "parent_id": ""}
    usual |= {"recipe": "demo", "decided_by": "me", "created_at": NOW}
    return ExpectationRow(**{**usual, "dataset_id": dataset_id, **changes})

"""A small world with everything that a report shows: two generators, rejections, hostile texts, a scored model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.dataset import DatasetVersion, Evaluation, ModelRecord, ShardSet, TrainingRun
from evoembedding.schemas.episode import Context, Document, Episode, Evidence, Question, Segment, Verdict
from evoembedding.schemas.teacher import TeacherCall
from evoembedding.synth import simulator
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from tests.records import shard_set, teacher_call, trained_model, training_run

TAKEN = "document.title='taken'"
HOSTILE = f'<script>{TAKEN}</script><img src=x onerror="{TAKEN}">\'"&amp;{{{{ 7*7 }}}}\u202e\x1b[31m'


class World(NamedTuple):
    """A warehouse with a version and a model that was trained on it."""

    warehouse: Warehouse
    home: Path
    version: DatasetVersion
    model_id: str


def hostile() -> dict[str, pl.DataFrame]:
    """Contexts of a document, with hostile words wherever words may be; of four questions one is rejected."""
    document = Document(
        document_id="doc-1",
        source_id=HOSTILE,
        title=HOSTILE,
        uri="javascript:alert(1)",
        license=HOSTILE,
        text="none",
    )
    long = "A very long segment. " * 700
    segments = [Segment(user=f"Window {n} of the text.") for n in range(60)]
    segments[7] = Segment(user=f"I said {HOSTILE} and moved to Porto.", assistant=HOSTILE)
    segments[8] = Segment(user=long)
    context = Context(
        context_id="ctx-hostile",
        kind="web",
        generator=HOSTILE,
        split="train",
        seed=0,
        document_ids=("doc-1",),
        segments=tuple(segments),
        fingerprint="fp",
        calls=("call-1",),
    )
    questions, evidence, verdicts, episodes = [], [], [], []
    for n in range(4):
        q = f"q-hostile-{n}"
        text = f"Where to, {n}? {HOSTILE}"
        questions.append(
            Question(
                question_id=q,
                context_id="ctx-hostile",
                question_type=HOSTILE if n else "latest",
                family="recall",
                text=text,
                answer="Porto" if n < 2 else HOSTILE,
                generator=HOSTILE,
                fingerprint="fp",
                calls=("call-2",),
            )
        )
        evidence.append(Evidence(question_id=q, indices=(7,), votes=(1,), generator=HOSTILE, fingerprint="fp"))
        if n == 3:
            why = f"evidence index outside 0..{n}: {HOSTILE}"
            verdicts.append(Verdict(question_id=q, check_name="grounded", passed=False, reason=why, fingerprint="fp"))
            continue
        episodes.append(
            Episode(
                episode_id=f"ep-hostile-{n}",
                context_id="ctx-hostile",
                question_id=q,
                generator=HOSTILE,
                split="train",
                question_type=questions[-1].question_type,
                family="recall",
                question=text,
                answer=questions[-1].answer,
                evidence=(7,),
                segments=60,
                fingerprint="fp",
            )
        )
    verdicts.append(
        Verdict(
            question_id="q-hostile-2",
            check_name="near_duplicate",
            passed=False,
            reason="its context nearly repeats ctx-0",
            fingerprint="curated",
            episode_id="ep-hostile-2",
        )
    )
    calls = [
        teacher_call(f"call-{n}", HOSTILE, stage=stage, prompt_tokens=1000)
        for n, stage in ((1, "contexts"), (2, "questions"))
    ]
    return {
        "documents": to_frame(Document, [document]),
        "contexts": to_frame(Context, [context]),
        "questions": to_frame(Question, questions),
        "evidence": to_frame(Evidence, evidence),
        "verdicts": to_frame(Verdict, verdicts),
        "episodes": to_frame(Episode, episodes),
        "teacher_calls": to_frame(TeacherCall, calls),
    }


def scores(model_id: str) -> list[Evaluation]:
    """Of a model, its ablation and two baselines, over all questions and by fifteen types."""
    systems = {"EvoEmbedding": 0.8, "EvoEmbedding, memory off": 0.5, "BM25 with stemming": 0.3, HOSTILE: 0.1}
    kinds = {"all": 900, "state": 500, **{f"type_{n}": 60 - n for n in range(14)}}
    return [
        Evaluation(
            evaluation_id=f"eval-{system}-{kind}-{metric}",
            model_id=model_id,
            benchmark="heldout:sim-1",
            system=system,
            question_type=kind,
            metric=metric,
            value=value,
            low=value - 0.04,
            high=value + 0.03,
            questions=questions,
        )
        for system, value in systems.items()
        for kind, questions in kinds.items()
        for metric in ("Recall@1", "nDCG@10")
    ]


def add_model(world_home: Path, warehouse: Warehouse, version: DatasetVersion, name: str, scored: bool) -> str:
    """A shard set, a training run and a model of a version; the scored one has metrics, the other no file at all."""
    shards = shard_set(name, version.dataset_id)
    config = recipe("smallest").train.model_dump_json()
    run = training_run(name, shards.shard_set_id, config=config, steps=200, final_loss=2.25, seconds=434.6)
    folder = world_home / "runs" / run.training_run_id
    model = trained_model(name)
    if scored:
        folder.mkdir(parents=True)
        rows = [
            {
                "step": n,
                "loss": 9 - n / 50,
                "gradient_norm": float("nan") if n == 5 else 1.0,
                "seconds": 0.5,
                "tokens": n,
            }
            for n in range(1, 201)
        ]
        lines = [json.dumps(row) for row in rows]
        (folder / "metrics.jsonl").write_text("\n".join([*lines[:100], "{broken", *lines[100:], '{"step": 201, "lo']))
        warehouse.append("evaluations", to_frame(Evaluation, scores(model.model_id)))
    warehouse.append_all(
        {
            "shard_sets": to_frame(ShardSet, [shards]),
            "training_runs": to_frame(TrainingRun, [run]),
            "models": to_frame(ModelRecord, [model]),
        }
    )
    return model.model_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Twelve simulated contexts and a hostile one, published; a scored model, and `model-bare` without anything."""
    home = tmp_path_factory.mktemp("home")
    with Warehouse.open(home) as warehouse:
        commit_drafts(warehouse, simulator.simulate(SimulatorConfig(contexts=12), 0, 12))
        commit_drafts(warehouse, simulator.simulate(SimulatorConfig(contexts=2, split="heldout"), 0, 2))
        warehouse.append_all(hostile())
        made = recipe("smallest").model_dump_json()
        version = publish(warehouse, "small", made, "0123abcd+dirty", EpisodeFilter(curation="curated"))
        model_id = add_model(home, warehouse, version, "scored", scored=True)
        add_model(home, warehouse, version, "bare", scored=False)
        yield World(warehouse, home, version, model_id)

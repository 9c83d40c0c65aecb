"""A warehouse at the size of EvoTrain-180K for benchmarks/lineage.py: a few hundred simulated contexts, repeated.

    python benchmarks/lineage_world.py FOLDER EPISODES

A third of the contexts are simulated dialogues, a third are made of documents, a third by a teacher, half of these
memories of the other half. Each has ids, evidence, verdicts and, where a teacher made it, calls of its own.
"""

# ruff: noqa: S608 - what is formatted into queries are constants of ours
from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.pop(0)  # this folder: its files have names of our packages

import duckdb

from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.dataset import Evaluation, ModelRecord, ShardSet, TrainingRun
from evoembedding.synth import simulator
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.row_digests import with_digest

SAMPLE = 300  # contexts that are simulated
DOCUMENTS = 2000
ROWS_A_STEP = 20_000
CALLS = 10  # of a taught episode: its context 2, question 1, evidence 3, checks 4
TEACHERS = 4  # models; each taught episode is one's work

# `n` numbers an episode, `s` is the sample's context, `made` 0 simulated, 1 of a document, 2 told, 3 remembered.
_PLAN = """CREATE OR REPLACE TEMP TABLE plan AS
    SELECT n, n % $sample AS s, CASE WHEN n % 3 < 2 THEN n % 3 WHEN n % 6 = 2 THEN 2 ELSE 3 END AS made,
           substr(md5(n::VARCHAR), 1, 20) AS h FROM range($first, $last) t(n)"""
_CALL = "'call-' || substr(md5(n || '/' || {k}), 1, 20)"
_NONE = "[]::VARCHAR[]"


def _calls(first: int, last: int) -> str:
    listed = ", ".join(_CALL.format(k=k) for k in range(first, last))
    return f"CASE WHEN made > 1 THEN [{listed}] ELSE {_NONE} END"


# Texts of their own, so that Parquet's dictionaries do not make the column smaller than a real one.
_SEGMENTS = """list_transform(segments, lambda said, i: struct_pack(
            "user" := said."user" || ' ' || md5(h || i), assistant := said.assistant || ' ' || md5(i || h)))"""
_MODEL = f"'teacher-' || (n // 6 % {TEACHERS})"
_GENERATOR = f"CASE made WHEN 0 THEN 'simulator' WHEN 1 THEN 'cloze' ELSE {_MODEL} END"
_MARK = "CASE made WHEN 0 THEN p.fingerprint WHEN 1 THEN 'fp-cloze' ELSE 'fp-taught' END"
_ROWS = {
    "contexts": f"""SELECT 'ctx-' || h AS context_id, ['dialogue', 'web', 'dialogue', 'memory'][made + 1] AS kind,
        {_GENERATOR} AS generator, 'train' AS split, n AS seed,
        CASE WHEN made = 1 THEN ['doc-' || substr(md5((n // 3 % {DOCUMENTS})::VARCHAR), 1, 20)] ELSE {_NONE} END
            AS document_ids, {_SEGMENTS} AS segments, {_MARK} AS fingerprint,
        -- The dialogue of three before, in the same group of six: n % 6 is 2 for the told, 5 for the remembered.
        CASE WHEN made = 3 THEN ['ctx-' || substr(md5((n - 3)::VARCHAR), 1, 20)] ELSE {_NONE} END AS source_ids,
        {_calls(0, 2)} AS calls FROM plan JOIN sample_contexts p USING (s)""",
    "questions": f"""SELECT 'q-' || h AS question_id, 'ctx-' || h AS context_id, question_type, family, text, answer,
        {_GENERATOR} AS generator, {_MARK} AS fingerprint, reasoning, {_calls(2, 3)} AS calls
        FROM plan JOIN sample_questions p USING (s)""",
    "evidence": f"""SELECT 'q-' || h AS question_id, indices, votes, {_GENERATOR} AS generator, {_MARK} AS fingerprint,
        voters, {_calls(3, 6)} AS calls FROM plan JOIN sample_evidence p USING (s)""",
    "verdicts": f"""SELECT 'q-' || h AS question_id, check_name, passed, reason, {_MARK} AS fingerprint,
        'ep-' || h AS episode_id, score, {_NONE} AS calls FROM plan JOIN sample_verdicts p USING (s)
        UNION ALL SELECT 'q-' || h, ['grounded', 'evidence_only', 'closed_book', 'evidence_removed'][k - 5], true, '',
        'fp-taught', '', 0.9, [{_CALL.format(k="k")}] FROM plan, range(6, {CALLS}) t(k) WHERE made > 1""",
    "episodes": f"""SELECT 'ep-' || h AS episode_id, 'ctx-' || h AS context_id, 'q-' || h AS question_id,
        {_GENERATOR} AS generator, 'train' AS split, question_type, family, question, answer, evidence, segments,
        {_MARK} AS fingerprint FROM plan JOIN sample_episodes p USING (s)""",
    "teacher_calls": f"""SELECT {_CALL.format(k="k")} AS call_id, 'bench' AS scope,
        CASE WHEN k < 2 THEN 'contexts' WHEN k < 3 THEN 'questions' WHEN k < 6 THEN 'evidence' ELSE 'verify' END
            AS stage, 'dialogue:' || n AS item, 'teacher' AS teacher, {_MODEL} AS model,
        'http://127.0.0.1:1/v1' AS endpoint, 1200 AS prompt_tokens, 60 AS completion_tokens, 0.5 AS seconds,
        0.0001 AS cost, 'stop' AS finish_reason, true AS valid, '{{"answer": "' || repeat('text ', 40) || '"}}'
            AS content, TIMESTAMPTZ '2026-01-01T00:00:00+00:00' AS created_at
        FROM plan, range({CALLS}) t(k) WHERE made > 1""",
}


def build(home: Path, episodes: int) -> None:
    """Fill the warehouse of `home`; versions bench@1 (nine tenths) and bench@2 (all), each with a model and scores."""
    began = time.perf_counter()
    with Warehouse.open(home) as warehouse:
        _sample(warehouse)
        first = episodes * 9 // 10
        for number, (start, stop) in enumerate(((0, first), (first, episodes)), 1):
            for at in range(start, stop, ROWS_A_STEP):
                warehouse.transaction(lambda con, at=at, stop=stop: _insert(con, at, min(stop, at + ROWS_A_STEP)))
            version = publish(warehouse, "bench", '{"name": "bench"}', "abc", EpisodeFilter())
            _model(warehouse, version.dataset_id, number)
            print(f"{version.label}: {version.episodes} episodes, {time.perf_counter() - began:.0f} s", flush=True)


def _sample(warehouse: Warehouse) -> None:
    """Simulated contexts of one question each, held out so that no version takes them in; numbered 0 to SAMPLE - 1."""
    config = SimulatorConfig(
        contexts=SAMPLE, min_segments=18, max_segments=24, questions_per_context=1, split="heldout"
    )
    commit_drafts(warehouse, simulator.simulate(config))
    numbered = f"""(SELECT *, row_number() OVER (ORDER BY context_id) - 1 AS s FROM lake.contexts
                    WHERE fingerprint = '{simulator.generator.fingerprint(config)}')"""

    def work(con: duckdb.DuckDBPyConnection) -> None:
        con.execute(f"CREATE TEMP TABLE sample_contexts AS SELECT * FROM {numbered}")
        key = "SELECT q.*, s FROM lake.{} q JOIN sample_contexts c USING (context_id)"
        con.execute("CREATE TEMP TABLE sample_questions AS " + key.format("questions"))
        con.execute("CREATE TEMP TABLE sample_episodes AS " + key.format("episodes"))
        key = "SELECT q.*, s FROM lake.{} q JOIN sample_questions c USING (question_id)"
        con.execute("CREATE TEMP TABLE sample_evidence AS " + key.format("evidence"))
        con.execute("CREATE TEMP TABLE sample_verdicts AS " + key.format("verdicts"))
        con.execute(
            "INSERT INTO lake.documents BY NAME "
            + with_digest(
                "documents",
                f"""SELECT 'doc-' || substr(md5(n::VARCHAR), 1, 20) AS document_id, 'text-' || n AS source_id,
                    'Title ' || n AS title, 'https://example.org/' || n AS uri, 'CC0' AS license,
                    repeat('some words of a text ', 500) AS text FROM range({DOCUMENTS}) t(n)""",
            )
        )

    warehouse.transaction(work)


def _insert(con: duckdb.DuckDBPyConnection, first: int, last: int) -> None:
    con.execute(_PLAN, {"sample": SAMPLE, "first": first, "last": last})
    for table, rows in _ROWS.items():
        con.execute(f"INSERT INTO lake.{table} BY NAME {with_digest(table, rows)}")


def _model(warehouse: Warehouse, dataset_id: str, number: int) -> None:
    now = "2026-01-01T00:00:00+00:00"
    shards = ShardSet(
        shard_set_id=f"shards-bench-{number}",
        dataset_id=dataset_id,
        tokenizer_digest="0" * 64,
        place=f"shards/shards-bench-{number}",
        rows=1,
        manifest_digest="0" * 64,
        created_at=now,
    )
    run = TrainingRun(
        training_run_id=f"run-bench-{number}",
        shard_set_id=shards.shard_set_id,
        config="{}",
        steps=1,
        final_loss=1.0,
        seconds=1.0,
        created_at=now,
    )
    model = ModelRecord(
        model_id=f"model-bench-{number}",
        training_run_id=run.training_run_id,
        place=f"runs/run-bench-{number}/model",
        digest="0" * 64,
        created_at=now,
    )
    score = Evaluation(
        evaluation_id=f"eval-bench-{number}",
        model_id=model.model_id,
        benchmark="heldout",
        system="EvoEmbedding",
        question_type="all",
        metric="recall@1",
        value=0.7,
        low=0.6,
        high=0.8,
        questions=100,
    )
    warehouse.append_all(
        {
            "shard_sets": to_frame(ShardSet, [shards]),
            "training_runs": to_frame(TrainingRun, [run]),
            "models": to_frame(ModelRecord, [model]),
            "evaluations": to_frame(Evaluation, [score]),
        }
    )


def main() -> None:
    """Make it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("episodes", type=int)
    options = parser.parse_args()
    build(options.folder, options.episodes)


if __name__ == "__main__":
    main()

"""What lineage answers cost at the size of EvoTrain-180K, each in a process of its own, beside the plain way.

    python benchmarks/lineage.py [--episodes 184137] [--home FOLDER] [--rounds 3]

The world is of benchmarks/lineage_world.py; with --home it is kept, and reused when it is there. `answer` is from
opening the warehouse to the last line of text, `process` the whole process with the start of Python. The plain way
pulls the key columns of the tables that it needs into Polars, joins and walks there; segments are not pulled.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.pop(0)  # this folder: its files have names of our packages

import polars as pl

from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import as_of
from evoembedding.warehouse.lineage.impact import impact
from evoembedding.warehouse.lineage.trace import trace
from evoembedding.warehouse.lineage.tree import TraceNode, render_tree

EPISODES = 184_137
KEYS = ("answer", "process", "cpu", "peak")
Answer = tuple[int, int]  # what both ways have to agree on


def main() -> None:
    """Ask every question `rounds` times in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--home", type=Path, help="a folder to keep the world in")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--answer", nargs=3, help=argparse.SUPPRESS)  # how, question, id: one answer, in this process
    options = parser.parse_args()
    if options.answer:
        _answer(options.home, *options.answer)
        return
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder)
        if not (home / "warehouse").exists():
            world = Path(__file__).with_name("lineage_world.py")
            subprocess.run([sys.executable, str(world), str(home), str(options.episodes)], check=True)
        _ask_all(home, options.rounds)


def _ask_all(home: Path, rounds: int) -> None:
    with Warehouse.open(home) as warehouse:
        document = warehouse.query("SELECT min(document_id) FROM lake.documents").item()
        told = warehouse.query("SELECT min(source_ids[1]) FROM lake.contexts WHERE len(source_ids) > 0").item()
    asked = [
        ("trace", "model-bench-2"),
        ("trace", "bench@2"),
        ("trace", document),
        ("trace", told.replace("ctx-", "ep-")),
        ("impact", document),
        ("impact", told),
        ("impact", "teacher-1"),
        ("trace --as-of bench@1", "bench@1"),
        ("impact --as-of bench@1", document),
    ]
    print(f"{'':46} {'answer':>8} {'process':>8} {'CPU':>7} {'peak':>9} {'plain':>8} {'its peak':>9} {'ratio':>6}")
    for question, identity in asked:
        runs = [[_run(home, how, question, identity) for _ in range(rounds)] for how in ("ours", "plain")]
        if runs[0][0]["told"] != runs[1][0]["told"]:
            raise SystemExit(f"{question} {identity}: {runs[0][0]['told']}, but {runs[1][0]['told']} in the plain way")
        ours, plain = ({key: statistics.median(row[key] for row in rows) for key in KEYS} for rows in runs)
        print(
            f"{question + ' ' + identity:46} {ours['answer']:6.2f} s {ours['process']:6.2f} s {ours['cpu']:5.2f} s "
            f"{ours['peak']:5.0f} MiB {plain['answer']:6.2f} s {plain['peak']:5.0f} MiB "
            f"{plain['answer'] / ours['answer']:5.2f}x",
            flush=True,
        )


def _run(home: Path, how: str, question: str, identity: str) -> dict[str, float]:
    began = time.perf_counter()
    words = [sys.executable, __file__, "--home", str(home), "--answer", how, question, identity]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "process": time.perf_counter() - began}


def _answer(home: Path, how: str, question: str, identity: str) -> None:
    began = time.perf_counter()
    name, _, label = question.partition(" --as-of ")
    with as_of(home, label) if label else Warehouse.open(home) as warehouse:
        told = (_ours if how == "ours" else _plain)[name](warehouse, identity)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(json.dumps({"answer": seconds, "cpu": cpu, "peak": peak, "told": told}))


def _trace(warehouse: Warehouse, identity: str) -> Answer:
    tree = trace(warehouse, identity)
    print(render_tree(tree))
    return _calls_in(tree), _documents_in(tree)


def _calls_in(node: TraceNode) -> int:
    own = node.facts["calls"] if node.kind == "teacher calls" else 0
    return own + sum(_calls_in(child) for child in node.children)


def _documents_in(node: TraceNode) -> int:
    """The total where one is told, as under a dataset; else the documents shown."""
    totals = [child.facts["total"] for child in node.children if child.kind == "documents"]
    below = totals or [_documents_in(child) for child in node.children]
    return (node.kind == "document") + sum(below)


def _impact(warehouse: Warehouse, identity: str) -> Answer:
    tree = impact(warehouse, identity)
    print(render_tree(tree))
    return tree.facts["episodes"], tree.facts["models"]


def _plain_trace(warehouse: Warehouse, identity: str) -> Answer:
    """The calls and documents under an id."""
    if identity.startswith("doc-"):
        return 0, len(warehouse.query("SELECT * FROM lake.documents").filter(pl.col("document_id") == identity))
    episodes = warehouse.query("SELECT episode_id, context_id, question_id, generator FROM lake.episodes")
    if identity.startswith("ep-"):
        episodes = episodes.filter(pl.col("episode_id") == identity)
    else:
        members = warehouse.query("SELECT * FROM lake.dataset_members")
        dataset = _plain_dataset(warehouse, identity)
        episodes = episodes.join(members.filter(pl.col("dataset_id") == dataset), on="episode_id", how="semi")
    contexts = warehouse.query("SELECT context_id, document_ids, source_ids, calls FROM lake.contexts")
    chosen = episodes.select("context_id", "generator").unique()
    under = chosen
    edges = contexts.select("context_id", source_id="source_ids").explode("source_id").drop_nulls()
    while len(chosen):
        lower = chosen.join(edges, on="context_id").select(context_id="source_id", generator="generator").unique()
        chosen = lower.join(under, on=["context_id", "generator"], how="anti")
        under = pl.concat([under, chosen])
    made = contexts.join(under, on="context_id")
    parts = [made.select("generator", "calls")]
    for table in ("questions", "evidence", "verdicts"):
        rows = warehouse.query(f"SELECT question_id, calls FROM lake.{table}")  # noqa: S608
        parts.append(rows.join(episodes, on="question_id").select("generator", "calls"))
    used = pl.concat(parts).explode("calls").drop_nulls().unique()
    calls = warehouse.query(
        "SELECT call_id, model, stage, prompt_tokens + completion_tokens AS tokens, cost FROM lake.teacher_calls"
    )
    totals = (
        used.join(calls, left_on="calls", right_on="call_id")
        .group_by("generator", "model", "stage")
        .agg(pl.len().alias("calls"), pl.sum("tokens", "cost"), pl.first("calls").alias("first"))
    )
    documents = made["document_ids"].explode().drop_nulls().unique()
    titles = warehouse.query("SELECT document_id, source_id, title, uri, license FROM lake.documents")
    print(totals, titles.filter(pl.col("document_id").is_in(documents.implode())).sort("source_id").head(3))
    print(episodes.group_by("generator").agg(pl.len(), pl.col("context_id").unique().sort().head(3)))
    return int(totals["calls"].sum()), len(documents)


def _plain_dataset(warehouse: Warehouse, identity: str) -> str:
    """The dataset id of a model, or of NAME@N."""
    versions = warehouse.query("SELECT * FROM lake.dataset_versions")
    if "@" in identity:
        return next(r["dataset_id"] for r in versions.to_dicts() if f"{r['name']}@{r['number']}" == identity)
    models = warehouse.query("SELECT * FROM lake.models").filter(pl.col("model_id") == identity)
    runs = warehouse.query("SELECT * FROM lake.training_runs").join(models, on="training_run_id", how="semi")
    shards = warehouse.query("SELECT * FROM lake.shard_sets").join(runs, on="shard_set_id", how="semi")
    return str(shards["dataset_id"].item())


def _plain_impact(warehouse: Warehouse, identity: str) -> Answer:
    """The episodes made from an id, and the models that read any of them."""
    contexts = warehouse.query("SELECT context_id, document_ids, source_ids, calls FROM lake.contexts")
    episodes = warehouse.query("SELECT episode_id, context_id, question_id FROM lake.episodes")
    asked: set[str] = set()
    if identity.startswith("doc-"):
        first = contexts.filter(pl.col("document_ids").list.contains(identity))
    elif identity.startswith("ctx-"):
        first = contexts.filter(pl.col("context_id") == identity)
    else:
        calls = warehouse.query("SELECT call_id, model FROM lake.teacher_calls").filter(pl.col("model") == identity)
        first = contexts.explode("calls").join(calls, left_on="calls", right_on="call_id", how="semi")
        for table in ("questions", "evidence", "verdicts"):
            rows = warehouse.query(f"SELECT question_id, calls FROM lake.{table}").explode("calls")  # noqa: S608
            asked |= set(rows.join(calls, left_on="calls", right_on="call_id", how="semi")["question_id"])
    memories: dict[str, list[str]] = {}
    for context, sources in contexts.select("context_id", "source_ids").iter_rows():
        for source in sources:
            memories.setdefault(source, []).append(context)
    used, left = set[str](), list(first["context_id"])
    while left:
        if (context := left.pop()) not in used:
            used.add(context)
            left += memories.get(context, [])
    reached = {e for e, context, question in episodes.iter_rows() if context in used or question in asked}
    datasets = {d for d, e in warehouse.query("SELECT * FROM lake.dataset_members").iter_rows() if e in reached}
    shards = warehouse.query("SELECT * FROM lake.shard_sets").filter(pl.col("dataset_id").is_in(datasets))
    runs = warehouse.query("SELECT * FROM lake.training_runs").join(shards, on="shard_set_id", how="semi")
    models = warehouse.query("SELECT * FROM lake.models").join(runs, on="training_run_id", how="semi")
    print(models)
    return len(reached), len(models)


_ours: dict[str, Callable[[Warehouse, str], Answer]] = {"trace": _trace, "impact": _impact}
_plain: dict[str, Callable[[Warehouse, str], Answer]] = {"trace": _plain_trace, "impact": _plain_impact}


if __name__ == "__main__":
    main()

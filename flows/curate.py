"""Curate: what of the matching episodes a dataset version leaves out, looked at together, before it is published.

The matching episodes and the benchmarks' texts come in; verdicts go out, which publishing reads by their fingerprint.
Those of the check `held_out` name the episodes that are questions of the user's own: `warehouse/datasets/own.py`.
"""

from __future__ import annotations

import json
from functools import partial
from typing import NamedTuple

import polars as pl

from evoembedding.evaluation.benchmarks import BENCHMARKS, texts
from evoembedding.flows.progress import tell
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import CurationConfig
from evoembedding.schemas.dataset import StageFingerprint
from evoembedding.schemas.ids import canonical, digest
from evoembedding.schemas.moments import now
from evoembedding.synth.curation import deduplicate, hold_out
from evoembedding.synth.curation.decontaminate import Benchmarks
from evoembedding.synth.curation.deduplicate import NearDuplicates
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.own import HELD_OUT, matching_sources
from evoembedding.warehouse.datasets.versions import (
    EpisodeFilter,
    matching_contexts,
    matching_digest,
    matching_questions,
)

STAGE = "curate"
LEAK = 0.8  # similarity to what is held out from which on a context is not trained on, where no other is set
READERS = {one.name: partial(texts, one.name) for one in BENCHMARKS.values() if one.file}
KEYS: dict[str, pl.DataType] = {"episode_id": pl.String(), "question_id": pl.String()}
WHY: dict[str, pl.DataType] = {"check_name": pl.String(), "reason": pl.String(), "score": pl.Float64()}


class Curated(NamedTuple):
    """The fingerprint of the rejections, and the digest of the episodes that were looked at; '' when nothing was."""

    fingerprint: str
    episodes: str


def curate(warehouse: Warehouse, config: CurationConfig, where: EpisodeFilter, scope: str) -> Curated:
    """Reject near-duplicates and what benchmarks hold among the matching episodes, and what is held out.

    Contexts are looked at in the order of their ids, those held out first, and of two that are alike the first is kept:
    so that nothing is trained on that nearly repeats what is held out. The same episodes under the same settings and
    benchmarks are looked at once.

    Raises:
        EvoError: a benchmark cannot be read.
    """
    benchmarks = Benchmarks(config.benchmarks, config.overlap_words, READERS) if config.benchmarks else None
    if benchmarks is None and config.near_duplicate is None and not config.held_out:
        return Curated("", "")
    episodes = matching_digest(warehouse, where)
    components = {
        "code": deduplicate.VERSION,
        "near_duplicate": [config.near_duplicate, config.shingle_words],
        "benchmarks": benchmarks.digest if benchmarks else "",
        "episodes": episodes,
    }
    if config.held_out:
        # Only where it is asked for: a curation from before there was one keeps its fingerprint.
        components["held_out"] = [hold_out.VERSION, config.held_out, LEAK]
    fingerprint = digest({"stage": STAGE, **components}, 10)
    if len(warehouse.query("SELECT 1 FROM lake.fingerprints WHERE fingerprint = ?", (fingerprint,))):
        return Curated(fingerprint, episodes)
    verdicts = _rejections(warehouse, config, benchmarks, where)
    done = StageFingerprint(
        fingerprint=fingerprint,
        stage=STAGE,
        kind="",
        scope=scope,
        components=canonical(components).decode(),
        created_at=now(),
    )
    # Together: the fingerprint says that these episodes were looked at, also where nothing was rejected.
    warehouse.append_all(
        {
            "verdicts": verdicts.with_columns(fingerprint=pl.lit(fingerprint)),
            "fingerprints": to_frame(StageFingerprint, [done]),
        }
    )
    return Curated(fingerprint, episodes)


def _rejections(
    warehouse: Warehouse, config: CurationConfig, benchmarks: Benchmarks | None, where: EpisodeFilter
) -> pl.DataFrame:
    """A verdict for each episode to leave out, by what is wrong with its context or else with its question."""
    contexts = _bad_contexts(warehouse, config, benchmarks, where)
    found = [pl.DataFrame(schema=KEYS | WHY)]
    for rows in matching_questions(warehouse, where):
        judged = rows.join(contexts, on="context_id", how="left")
        # Of a context that goes, the questions go with it: they need no look of their own.
        asked = judged.filter(pl.col("check_name").is_null()).select(*KEYS, "question")
        if benchmarks:
            # `whole`, since questions are often shorter than a run: they are compared with short texts.
            shared = pl.Series("reason", benchmarks.shared(asked["question"], whole=True), dtype=pl.String)
            found.append(_contaminated(asked.select(*KEYS), shared))
        found.append(judged.filter(pl.col("check_name").is_not_null()).select(*KEYS, *WHY))
    return pl.concat(found).with_columns(passed=pl.lit(False), calls=pl.lit([], dtype=pl.List(pl.String)))


def _bad_contexts(
    warehouse: Warehouse, config: CurationConfig, benchmarks: Benchmarks | None, where: EpisodeFilter
) -> pl.DataFrame:
    """Columns context_id, check_name, reason, score. A context that a benchmark holds is no original for others."""
    apart = _apart(warehouse, config, where)
    # What repeats the held-out is looked for also where the recipe keeps near-duplicates.
    nearness = config.near_duplicate or (LEAK if apart else None)
    kept = NearDuplicates(nearness, config.shingle_words) if nearness is not None else None
    found = [pl.DataFrame(schema={"context_id": pl.String(), **WHY})]
    looked = 0
    for rows in matching_contexts(warehouse, where):
        clean = rows
        if benchmarks:
            shared = pl.Series("reason", benchmarks.shared(rows["text"]), dtype=pl.String)
            found.append(_contaminated(rows.select("context_id"), shared))
            clean = rows.filter(shared == "")
        if kept:
            kept.add(clean["context_id"].to_list(), clean["text"], first=apart)
        looked += len(rows)
        tell(f"curate: {looked} contexts looked at")
    repeated = [
        (name, "leaked" if leaks else "near_duplicate", f"its context nearly repeats {twin.name}", twin.similarity)
        for name, twin in (kept.twins() if kept else {}).items()
        if (leaks := twin.name in apart and name not in apart) or config.near_duplicate is not None
    ]
    bad = pl.concat([*found, pl.DataFrame(repeated, schema=found[0].schema, orient="row")])
    told = [(name, HELD_OUT, f"kept apart from training with {source}", None) for name, source in apart.items()]
    # What is bad besides is no question of the user's own: of a context only one verdict stands.
    held = pl.DataFrame(told, schema=bad.schema, orient="row").join(bad, on="context_id", how="anti")
    return pl.concat([bad, held])


def _apart(warehouse: Warehouse, config: CurationConfig, where: EpisodeFilter) -> dict[str, str]:
    """The contexts that are held out, each with the source that it is held out for."""
    if not config.held_out:
        return {}
    return {
        context_id: source
        for rows in matching_sources(warehouse, where)
        for context_id, sources in rows.iter_rows()
        if (source := hold_out.held_out(sources, config.held_out)) is not None
    }


def _contaminated(rows: pl.DataFrame, shared: pl.Series) -> pl.DataFrame:
    """The rows that share a run of words with a benchmark, and which."""
    reasons = shared.map_elements(lambda run: f"a benchmark holds: {json.dumps(run[:200])}", return_dtype=pl.String)
    return (
        rows.with_columns(
            pl.lit("contaminated").alias("check_name"),
            reasons.alias("reason"),
            pl.lit(None, dtype=pl.Float64).alias("score"),
        )
        .filter(shared != "")
        .select(*rows.columns, *WHY)
    )

"""Curate: what of the matching episodes a dataset version leaves out, looked at together, before it is published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from flows.progress import tell
from schemas.arrow import to_frame
from schemas.configs import CurationConfig
from schemas.dataset import StageFingerprint
from schemas.episode import Segment, Verdict
from schemas.ids import canonical, digest
from synth import deduplicate
from synth.decontaminate import Benchmarks
from synth.deduplicate import NearDuplicates
from warehouse.catalog import Warehouse
from warehouse.versions import Candidate, EpisodeFilter, candidates, matching_digest

STAGE = "curate"


class Curated(NamedTuple):
    """The fingerprint of the rejections, and the digest of the episodes that were looked at; '' when nothing was."""

    fingerprint: str
    episodes: str


def curate(warehouse: Warehouse, config: CurationConfig, where: EpisodeFilter, scope: str) -> Curated:
    """Reject near-duplicates and what benchmarks hold among the matching episodes.

    Contexts are looked at in the order of their ids, and of two that are alike the first is kept. The same episodes
    under the same settings and benchmarks are looked at once.

    Raises:
        EvoError: a benchmark cannot be read.
    """
    benchmarks = Benchmarks(config.benchmarks, config.overlap_words) if config.benchmarks else None
    if benchmarks is None and config.near_duplicate is None:
        return Curated("", "")
    episodes = matching_digest(warehouse, where)
    components = {
        "code": deduplicate.VERSION,
        "near_duplicate": [config.near_duplicate, config.shingle_words],
        "benchmarks": benchmarks.digest if benchmarks else "",
        "episodes": episodes,
    }
    fingerprint = digest({"stage": STAGE, **components}, 10)
    if len(warehouse.query("SELECT 1 FROM lake.fingerprints WHERE fingerprint = ?", (fingerprint,))):
        return Curated(fingerprint, episodes)
    verdicts = list(_rejections(warehouse, config, benchmarks, where, fingerprint))
    done = StageFingerprint(
        fingerprint=fingerprint,
        stage=STAGE,
        kind="",
        scope=scope,
        components=canonical(components).decode(),
        created_at=datetime.now(UTC).isoformat(),
    )
    warehouse.append_all({"verdicts": to_frame(Verdict, verdicts), "fingerprints": to_frame(StageFingerprint, [done])})
    return Curated(fingerprint, episodes)


def _rejections(
    warehouse: Warehouse,
    config: CurationConfig,
    benchmarks: Benchmarks | None,
    where: EpisodeFilter,
    fingerprint: str,
) -> Iterator[Verdict]:
    kept = NearDuplicates(config.near_duplicate, config.shingle_words) if config.near_duplicate is not None else None
    looked = 0
    for chunk in candidates(warehouse, where):
        for one in chunk:
            yield from _of_context(one, kept, benchmarks, fingerprint)
        looked += len(chunk)
        tell(f"curate: {looked} contexts looked at")


def _of_context(
    one: Candidate, kept: NearDuplicates | None, benchmarks: Benchmarks | None, fingerprint: str
) -> Iterator[Verdict]:
    """The rejections of a context's episodes. One that a benchmark holds is no original for others."""
    text = "\n".join(Segment(**segment).text for segment in one.segments)
    shared = benchmarks.shared(text) if benchmarks else ""
    twin = kept.twin(one.context_id, text) if kept and not shared else None
    for episode_id, question_id, question in one.episodes:
        asked = shared or (benchmarks.shared(question, whole=True) if benchmarks else "")
        if asked:
            check, reason, score = "contaminated", f"a benchmark holds: {json.dumps(asked[:200])}", None
        elif twin:
            check, reason, score = "near_duplicate", f"its context nearly repeats {twin.name}", twin.similarity
        else:
            continue
        yield Verdict(
            question_id=question_id,
            check=check,
            passed=False,
            reason=reason,
            fingerprint=fingerprint,
            episode_id=episode_id,
            score=score,
        )

"""Profiles: what is measured of a set of episodes, so that it can be held against what is expected of it."""

from __future__ import annotations

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.expect import KNOWN_PARTS, MIXES, Profile
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.statistics import EpisodeSet, Statistics, of_version, statistics
from evoembedding.warehouse.datasets.versions import EpisodeFilter, matching

# Verdicts that were there when a version was published: those that came since would make it what a later one is.
_YIELD = """SELECT check_name, avg(passed::INTEGER) FROM lake.verdicts
    WHERE list_contains($fingerprints::VARCHAR[], fingerprint) AND ($until::BIGINT IS NULL OR snapshot_id <= $until)
    GROUP BY check_name ORDER BY check_name"""
_STAGES = """SELECT DISTINCT fingerprint FROM lake.verdicts
    WHERE check_name = 'all' AND passed AND snapshot_id <= $until AND episode_id IN ({among})"""
_LEFT_OUT = """SELECT check_name, count(*) FROM lake.verdicts WHERE NOT passed AND fingerprint = ?
    GROUP BY check_name"""


def of_matching(warehouse: Warehouse, where: EpisodeFilter) -> Profile | None:
    """The profile of what would be published; None where no episode matches."""
    sql, bound = matching(where)
    return _profile(warehouse, EpisodeSet(sql, bound), where.verified, where.curation, None)


def of_published(warehouse: Warehouse, version: DatasetVersion) -> Profile | None:
    """The profile of a version, its yield as it was when it was published; None where it holds no episode."""
    among = of_version(version)
    stages = warehouse.query(_STAGES.format(among=among.sql), {**among.params, "until": version.snapshot})
    return _profile(warehouse, among, tuple(stages["fingerprint"]), version.curation, version.snapshot)


def _profile(
    warehouse: Warehouse, among: EpisodeSet, fingerprints: tuple[str, ...], curation: str, until: int | None
) -> Profile | None:
    found = statistics(warehouse, among)
    if not found.episodes:
        return None
    passed = warehouse.query(_YIELD, {"fingerprints": list(fingerprints), "until": until})
    numbers = {"episodes": {"": float(found.episodes)}, "yield": dict(passed.iter_rows()), **_lengths(found)}
    if curation:
        out: dict[str, int] = dict(warehouse.query(_LEFT_OUT, (curation,)).iter_rows())
        looked_at = found.episodes + sum(out.values())
        checks = {**dict.fromkeys(KNOWN_PARTS["left_out"], 0), **out}
        numbers["left_out"] = {check: count / looked_at for check, count in checks.items()}
    mixes: dict[str, dict[str, int]] = {name: getattr(found, name) for name in MIXES}
    shares = {name: {part: n / sum(counts.values()) for part, n in counts.items()} for name, counts in mixes.items()}
    return Profile(numbers=numbers, mixes=shares)


def _lengths(found: Statistics) -> dict[str, dict[str, float]]:
    told = {}
    for name in ("segments", "tokens"):
        counts = found.lengths[name]
        mean = sum(value * times for value, times in counts.items()) / sum(counts.values())
        told[name] = {"mean": mean, "min": float(min(counts)), "max": float(max(counts))}
    return told

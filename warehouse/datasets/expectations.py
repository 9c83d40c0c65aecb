"""Judge what would be published by what its recipe expects, and keep what was found with the version."""

from __future__ import annotations

from math import fsum
from typing import NamedTuple

import duckdb

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import Acceptance, DatasetVersion, ExpectationRow
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.expect import MIXES, SHARES, Bound, Expect, Expectation, Found, Profile
from evoembedding.schemas.moments import now
from evoembedding.schemas.text import on_one_line
from evoembedding.warehouse.catalog import Warehouse, insert_new
from evoembedding.warehouse.datasets.draft_versions import Judged, draft_versions, judged_of
from evoembedding.warehouse.datasets.profiles import of_matching, of_published
from evoembedding.warehouse.datasets.versions import EpisodeFilter, list_versions, matching_digest, present_versions

SHOWN = 3  # parts of a mix in a sentence


class Judging(NamedTuple):
    """What was found before a version is published: of which episodes, beside which version."""

    digest: str
    parent_id: str
    recipe: str
    found: tuple[Found, ...]


def judge(warehouse: Warehouse, name: str, recipe: str, expect: Expect, where: EpisodeFilter) -> Judging | None:
    """Hold the matching episodes against what is expected of them; None where nothing is, or none match.

    Raises:
        EvoError: an expectation is on a check that no question was put to.
    """
    profile = of_matching(warehouse, where) if expect.rules else None
    if profile is None:
        return None
    digest = matching_digest(warehouse, where)
    parent = compared_with(warehouse, name, digest)
    beside = of_published(warehouse, parent) if parent else None
    return Judging(
        digest, parent.dataset_id if parent else "", recipe, tuple(found(one, profile, beside) for one in expect.rules)
    )


def compared_with(warehouse: Warehouse, name: str, digest: str) -> DatasetVersion | None:
    """The version that one of this content is compared with: the last before it that is there and is no draft."""
    versions = [version for version in list_versions(warehouse) if version.name == name]
    same = [version.number for version in versions if version.digest == digest]
    usable = present_versions(warehouse) - draft_versions(warehouse)
    before = (v for v in reversed(versions) if v.dataset_id in usable and v.episodes)
    return next((version for version in before if not same or version.number < same[-1]), None)


def keep(
    warehouse: Warehouse,
    con: duckdb.DuckDBPyConnection,
    version: DatasetVersion,
    judging: Judging | None,
    accept: str,
    by: str,
) -> None:
    """In the transaction that publishes a version: store what was found, once, and that it is accepted anyway.

    Raises:
        EvoError: others were judged than are published.
    """
    # By the transaction's own connection, as all of it.
    last = judged_of(warehouse, version.dataset_id)
    if judging:
        parent = compared_with(warehouse, version.name, judging.digest)
        if (version.digest, parent.dataset_id if parent else "") != (judging.digest, judging.parent_id):
            raise EvoError(
                f"episodes or versions came since what would be '{version.name}' was judged; it was not published, "
                "since it could be other than was found; publish again when synthesis has ended"
            )
        rows = _rows(judging, version, (last.sequence if last else 0) + 1, by)
        if last is None or last.says != Judged(rows, None).says:
            insert_new(con, "expectations", to_frame(ExpectationRow, list(rows)))
            last = Judged(rows, None)
    if accept and last and last.draft:
        row = Acceptance(
            dataset_id=version.dataset_id, sequence=last.sequence, reason=accept, accepted_by=by, created_at=now()
        )
        insert_new(con, "acceptances", to_frame(Acceptance, [row]))


def pass_on(
    warehouse: Warehouse, con: duckdb.DuckDBPyConnection, before: DatasetVersion, after: DatasetVersion
) -> None:
    """In a transaction: what follows a draft by a withdrawal, unasked, is a draft too, for the same reasons."""
    judged = judged_of(warehouse, before.dataset_id)
    if judged and judged.draft and judged_of(warehouse, after.dataset_id) is None:
        rows = [row.replace(dataset_id=after.dataset_id, sequence=1) for row in judged.rows]
        insert_new(con, "expectations", to_frame(ExpectationRow, rows))


def found(one: Expectation, profile: Profile, parent: Profile | None) -> Found:
    """What is found under one expectation.

    Raises:
        EvoError: it is on a check that no question was put to.
    """
    if one.measure == "yield" and one.of not in profile.numbers["yield"]:
        known = ", ".join(profile.numbers["yield"]) or "none"
        raise EvoError(
            f"the recipe expects a yield of check '{on_one_line(one.of, 80)}', which no question was put to; nothing "
            f"was published; the checks are: {known}"
        )
    value, before = _value(one, profile), _value(one, parent) if parent else None
    drift = _drift(one, profile, parent) if parent else None
    direction, bound = one.asked
    judged = drift if direction == "drift_at_most" else value
    passed = None if judged is None else judged >= bound if direction == "at_least" else judged <= bound
    return Found(
        measure=one.measure,
        part=one.of,
        direction=direction,
        threshold=bound,
        value=value,
        parent_value=before,
        drift=drift,
        severity=one.severity,
        passed=passed,
        reason=_reason(one, direction, bound, profile, parent, value, drift),
    )


def _value(one: Expectation, profile: Profile) -> float | None:
    """The number or share that is asked about; of `only` the share of others."""
    if one.measure not in MIXES or one.of:
        return profile.value(one.measure, one.of)
    mix = profile.mixes.get(one.measure)
    return fsum(share for part, share in mix.items() if part not in one.only) if one.only and mix else None


def _drift(one: Expectation, profile: Profile, parent: Profile) -> float | None:
    if one.measure in MIXES and not one.of:
        mine, theirs = profile.mixes[one.measure], parent.mixes[one.measure]
        if bool(mine) != bool(theirs):
            return 1.0  # one of them has nothing of it: no two mixes are further apart
        # Exactly, so that the same two give the same whatever order a set has: else they would be judged anew.
        return fsum(abs(mine.get(part, 0) - theirs.get(part, 0)) for part in mine.keys() | theirs.keys()) / 2
    value, before = profile.value(one.measure, one.of), parent.value(one.measure, one.of)
    if value is None or before is None:
        return None
    if one.measure in MIXES or one.measure in SHARES:
        return abs(value - before)
    return abs(value - before) / before if before else None


def _reason(
    one: Expectation,
    direction: Bound,
    bound: float,
    profile: Profile,
    parent: Profile | None,
    value: float | None,
    drift: float | None,
) -> str:
    if direction == "drift_at_most":
        if parent is None:
            return "there is no version before it to compare with"
        if drift is None:
            return "it is not known of both versions"
        return f"it is {drift:.4g} from the version before{_moved(one, profile, parent)}, and {bound:g} is allowed"
    if value is None:
        return "curation did not look for it" if one.measure == "left_out" else "there is nothing of it to measure"
    if direction == "only":
        others = sorted(part for part in profile.mixes[one.measure] if part not in (one.only or ()))
        names = ", ".join(f"'{on_one_line(part, 60)}'" for part in others[:SHOWN])
        rest = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        return f"{value:.4g} of it is {names}{rest}, which is not allowed" if others else "it holds nothing else"
    return f"it is {value:.4g}, and {bound:g} or {'more' if direction == 'at_least' else 'less'} is asked for"


def _moved(one: Expectation, profile: Profile, parent: Profile) -> str:
    """Of a whole mix, what has moved furthest."""
    if one.measure not in MIXES or one.of:
        return ""
    mine, theirs = profile.mixes[one.measure], parent.mixes[one.measure]
    parts = sorted(mine.keys() | theirs.keys(), key=lambda p: (-abs(mine.get(p, 0) - theirs.get(p, 0)), p))
    told = [f"{on_one_line(p, 60)} {theirs.get(p, 0):.4g} to {mine.get(p, 0):.4g}" for p in parts[:SHOWN]]
    return f" ({', '.join(told)})" if told else ""


def _rows(judging: Judging, version: DatasetVersion, sequence: int, by: str) -> tuple[ExpectationRow, ...]:
    when = now()
    return tuple(
        ExpectationRow(
            **one.model_dump(),
            dataset_id=version.dataset_id,
            sequence=sequence,
            rule=number,
            parent_id=judging.parent_id,
            recipe=judging.recipe,
            decided_by=by,
            created_at=when,
        )
        for number, one in enumerate(judging.found, 1)
    )

"""What differs between two dataset versions: episodes that came, went or changed, and why.

DuckDB compares the episodes and counts them by cause; here only causes are put into words, of which there are few.
"""

from __future__ import annotations

from collections import Counter

import polars as pl

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Record
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.fingerprints import Fingerprints
from evoembedding.warehouse.sources import SUPERSEDED_EPISODES, WITHDRAWN_EPISODES

SAMPLES = 3
_SIDES = """WITH
theirs AS (SELECT episode_id FROM lake.dataset_members WHERE dataset_id = $without),
mine AS (SELECT episode_id FROM lake.dataset_members WHERE dataset_id = $having),
only_mine AS (SELECT e.* FROM lake.episodes e SEMI JOIN mine USING (episode_id) ANTI JOIN theirs USING (episode_id)),
only_theirs AS (SELECT e.* FROM lake.episodes e SEMI JOIN theirs USING (episode_id) ANTI JOIN mine USING (episode_id)),
"""
# Episodes whose context was asked the same question in the other version, with another answer or other evidence.
_CHANGED = """before AS (
    SELECT context_id, question, arg_min({'answer': answer, 'evidence': evidence, 'mark': fingerprint}, episode_id) AS e
    FROM only_theirs GROUP BY context_id, question)
SELECT n.generator, n.answer <> b.e.answer AS other_answer, n.evidence <> b.e.evidence AS other_evidence,
       n.fingerprint, b.e.mark AS before, count(*) AS episodes, min(n.episode_id, 3) AS such_as
FROM only_mine n JOIN before b USING (context_id, question) GROUP BY ALL"""
# Why the version `without` lacks episodes that the version `having` has: what they were made from was withdrawn, or
# replaced, or is gone, its curation left them out, its verification rejected the question, or it holds others under the
# same fingerprint, or none under it. Of several causes the first is told.
_LACKING = """left_out AS (
    SELECT episode_id, min(check_name) AS check_name FROM lake.verdicts
    WHERE NOT passed AND fingerprint = $curation AND fingerprint <> '' GROUP BY episode_id),
verified AS (
    SELECT DISTINCT v.fingerprint FROM lake.verdicts v SEMI JOIN theirs USING (episode_id)
    WHERE v.check_name = 'all' AND v.passed),
rejected AS (
    SELECT question_id, min({'reason': reason, 'mark': fingerprint}) AS why FROM lake.verdicts
    SEMI JOIN verified USING (fingerprint) WHERE check_name = 'all' AND NOT passed GROUP BY question_id),
held AS (SELECT DISTINCT fingerprint FROM lake.episodes SEMI JOIN theirs USING (episode_id) UNION FROM verified),
withdrawn AS (SELECT episode_id FROM (WITHDRAWN) WHERE $went),
superseded AS (SELECT episode_id FROM (SUPERSEDED) WHERE $went)
SELECT o.generator, o.fingerprint,
       CASE WHEN w.episode_id IS NOT NULL THEN 'withdrawn' WHEN s.episode_id IS NOT NULL THEN 'superseded'
            WHEN l.check_name IS NOT NULL THEN 'left out'
            WHEN r.why IS NOT NULL THEN 'rejected'
            WHEN h.fingerprint IS NOT NULL THEN 'items' ELSE 'settings' END AS cause,
       coalesce(l.check_name, r.why.reason, '') AS check_name, coalesce(r.why.mark, '') AS rejecting,
       count(*) AS episodes, min(o.episode_id, 3) AS such_as
FROM only_mine o ANTI JOIN only_theirs t ON o.context_id = t.context_id AND o.question = t.question
LEFT JOIN left_out l ON o.episode_id = l.episode_id
LEFT JOIN rejected r ON o.question_id = r.question_id
LEFT JOIN held h ON o.fingerprint = h.fingerprint
LEFT JOIN withdrawn w ON o.episode_id = w.episode_id
LEFT JOIN superseded s ON o.episode_id = s.episode_id
GROUP BY ALL""".replace("WITHDRAWN", WITHDRAWN_EPISODES).replace("SUPERSEDED", SUPERSEDED_EPISODES)
_HELD = """SELECT generator, fingerprint, count(*) AS episodes FROM lake.episodes
    SEMI JOIN (SELECT episode_id FROM lake.dataset_members WHERE dataset_id = ?) USING (episode_id)
    GROUP BY ALL ORDER BY episodes DESC, fingerprint"""


class Change(Record):
    """Episodes that share a kind of change and its cause. A changed one has another answer or other evidence."""

    change: str  # came, went or changed
    generator: str
    why: str
    episodes: int
    such_as: tuple[str, ...]  # ids, the newer version's unless they went


class Diff(Record):
    """The changes from one version to another, and how many episodes both hold."""

    old: str
    new: str
    same: int
    came: int
    went: int
    changed: int
    changes: tuple[Change, ...]


def diff(warehouse: Warehouse, old: DatasetVersion, new: DatasetVersion) -> Diff:
    """What `new` holds that `old` does not, and the other way around, by cause."""
    known = Fingerprints(warehouse)
    changes = sorted(
        _together([*_changed(warehouse, known, old, new), *_came(warehouse, known, old, new)]),
        key=lambda c: (c.change, -c.episodes, c.generator, c.why),
    )
    counts: Counter[str] = Counter()
    for change in changes:
        counts[change.change] += change.episodes
    came, went, changed = (counts[name] for name in ("came", "went", "changed"))
    return Diff(
        old=old.label,
        new=new.label,
        same=new.episodes - came - changed,
        came=came,
        went=went,
        changed=changed,
        changes=tuple(changes),
    )


def _changed(warehouse: Warehouse, known: Fingerprints, old: DatasetVersion, new: DatasetVersion) -> list[Change]:
    rows = warehouse.query(_SIDES + _CHANGED, {"having": new.dataset_id, "without": old.dataset_id})
    changes = []
    for row in rows.iter_rows(named=True):
        parts = [name for name in ("answer", "evidence") if row[f"other_{name}"]]
        what = f"other {' and '.join(parts)}" if parts else "another question type"
        settings = known.differences(row["before"], row["fingerprint"])
        why = f"{what}, by other {', '.join(settings)}" if settings else what
        changes.append(_change("changed", row, why))
    return changes


def _came(warehouse: Warehouse, known: Fingerprints, old: DatasetVersion, new: DatasetVersion) -> list[Change]:
    changes = []
    for change, having, without in (("came", new, old), ("went", old, new)):
        sides = {"having": having.dataset_id, "without": without.dataset_id}
        bound = {**sides, "curation": without.curation, "went": change == "went"}
        rows = warehouse.query(_SIDES + _LACKING, bound)
        held = warehouse.query(_HELD, (without.dataset_id,)) if len(rows) else pl.DataFrame()
        changes += [_change(change, row, _why(row, change, without, known, held)) for row in rows.iter_rows(named=True)]
    return changes


def _why(row: dict[str, str], change: str, without: DatasetVersion, known: Fingerprints, held: pl.DataFrame) -> str:
    """The cause in words."""
    if row["cause"] == "withdrawn":
        return "what it was made from was withdrawn"
    if row["cause"] == "superseded":
        return "a document that it was made from was replaced or is gone"
    if row["cause"] == "left out":
        return f"{without.label} leaves it out: {row['check_name']}"
    if row["cause"] == "rejected":
        settings = known.differences(row["rejecting"], row["fingerprint"])
        by = f" by other {', '.join(settings)}" if settings else ""
        return f"{without.label} rejects it: {row['check_name']}{by}"
    if row["cause"] == "items":
        return f"{'more' if change == 'came' else 'fewer'} items of the same settings"
    mark, kind = row["fingerprint"], known.kind(row["fingerprint"])
    others = [
        other
        for generator, other, _ in held.iter_rows()
        if (kind and known.kind(other) == kind) or generator == row["generator"]
    ]
    if not others:
        return f"{without.label} has nothing of this generator"
    # No difference at all comes last: then the settings were not recorded, and another one may explain more.
    nearest = min((known.differences(other, mark) for other in others), key=lambda names: (not names, len(names)))
    return f"other {', '.join(nearest)}" if nearest else "other settings, which were not recorded"


def _change(change: str, row: dict[str, str], why: str) -> Change:
    return Change.model_validate(
        {"change": change, "why": why, **{name: row[name] for name in ("generator", "episodes", "such_as")}}
    )


def _together(changes: list[Change]) -> list[Change]:
    """Changes told in the same words, as one."""
    merged: dict[tuple[str, str, str], Change] = {}
    for change in changes:
        key = (change.change, change.generator, change.why)
        if key in merged:
            samples = sorted({*merged[key].such_as, *change.such_as})[:SAMPLES]
            total = merged[key].episodes + change.episodes
            change = change.replace(episodes=total, such_as=tuple(samples))
        merged[key] = change
    return list(merged.values())

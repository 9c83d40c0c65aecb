"""What differs between versions, and why: settings by component, checks, curation, or only more of the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import StageFingerprint
from evoembedding.schemas.episode import Episode, Verdict
from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.diff import Change, diff
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish, resolve
from evoembedding.warehouse.lineage.withdrawal import withdraw
from tests.records import NOW

STAGES = {
    "ctx-a": ("contexts", "", {"model": "m1", "seed": 0}),
    "ctx-b": ("contexts", "", {"model": "m1", "seed": 1}),
    "ver-a": ("verify", "ctx-a", {"thresholds": 0.5}),
    "ver-strict": ("verify", "ctx-a", {"thresholds": 0.9}),
    "ver-b": ("verify", "ctx-b", {"thresholds": 0.5}),
}


def episode(name: str, mark: str, context: str = "", generator: str = "g", evidence: tuple[int, ...] = (0,)) -> Episode:
    context = context or f"ctx-{name}"
    return Episode(
        episode_id=f"ep-{name}",
        context_id=context,
        question_id=f"q-{name}",
        generator=generator,
        split="train",
        question_type="recall",
        family="f",
        question=f"What is of {context}?",
        answer="this",
        evidence=evidence,
        segments=3,
        fingerprint=mark,
    )


def verdict(name: str, check: str, mark: str, reason: str = "", episode_id: str = "") -> Verdict:
    return Verdict(
        question_id=f"q-{name}",
        check_name=check,
        passed=not reason,
        reason=reason,
        fingerprint=mark,
        episode_id=episode_id,
    )


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    rows = [
        StageFingerprint(
            fingerprint=mark,
            stage=stage,
            kind="web",
            scope="s",
            components=json.dumps(components),
            created_at=NOW,
            before=before,
        )
        for mark, (stage, before, components) in STAGES.items()
    ]
    with Warehouse.open(tmp_path) as opened:
        opened.append("fingerprints", to_frame(StageFingerprint, rows))
        yield opened


def add(warehouse: Warehouse, *episodes: Episode) -> None:
    """Episodes, accepted under their own fingerprint."""
    accepted = [verdict(e.episode_id[3:], "all", e.fingerprint, episode_id=e.episode_id) for e in episodes]
    warehouse.append_all({"episodes": to_frame(Episode, episodes), "verdicts": to_frame(Verdict, accepted)})


def compare(warehouse: Warehouse, old: EpisodeFilter, new: EpisodeFilter) -> dict[tuple[str, str], Change]:
    first, second = (publish(warehouse, name, "{}", None, w) for name, w in (("old", old), ("new", new)))
    return {(c.change, c.why): c for c in diff(warehouse, first, second).changes}


def test_the_same_episodes_differ_in_nothing(warehouse: Warehouse) -> None:
    add(warehouse, episode("1", "ver-a"))
    version = publish(warehouse, "d", "{}", None, EpisodeFilter())
    found = diff(warehouse, version, version)
    assert (found.same, found.came, found.went, found.changed, found.changes) == (1, 0, 0, 0, ())


def test_more_items_and_then_fewer(warehouse: Warehouse) -> None:
    add(warehouse, *(episode(str(n), "ver-a") for n in range(3)))
    first = publish(warehouse, "d", "{}", None, EpisodeFilter())
    add(warehouse, *(episode(str(n), "ver-a") for n in range(3, 8)))
    second = publish(warehouse, "d", "{}", None, EpisodeFilter())
    forth, back = diff(warehouse, first, second), diff(warehouse, second, first)
    assert [(c.change, c.why, c.episodes) for c in forth.changes] == [("came", "more items of the same settings", 5)]
    assert [(c.change, c.why, c.episodes) for c in back.changes] == [("went", "fewer items of the same settings", 5)]
    assert forth.changes[0].such_as == ("ep-3", "ep-4", "ep-5")
    assert (forth.same, back.same) == (3, 3)


def test_other_settings_are_named_by_stage_and_component(warehouse: Warehouse) -> None:
    add(warehouse, episode("1", "ver-a"), episode("2", "ver-b", generator="other model"))
    found = compare(warehouse, EpisodeFilter(fingerprints=("ver-a",)), EpisodeFilter(fingerprints=("ver-b",)))
    assert set(found) == {("came", "other contexts seed"), ("went", "other contexts seed")}


def test_a_generator_and_settings_that_nothing_is_known_of(warehouse: Warehouse) -> None:
    add(warehouse, episode("1", "fp-1"), episode("2", "fp-2"), episode("3", "fp-3", generator="h"))
    found = compare(warehouse, EpisodeFilter(fingerprints=("fp-1",)), EpisodeFilter(fingerprints=("fp-2", "fp-3")))
    assert set(found) == {
        ("came", "other settings, which were not recorded"),
        ("came", "old@1 has nothing of this generator"),
        ("went", "other settings, which were not recorded"),
    }


def test_a_stricter_check_rejects_what_went(warehouse: Warehouse) -> None:
    add(warehouse, *(episode(str(n), "ver-a") for n in range(4)))
    rows = [verdict("0", "all", "ver-strict", "grounded"), verdict("1", "all", "ver-strict", "closed_book")]
    rows += [verdict(str(n), "all", "ver-strict", episode_id=f"ep-{n}") for n in (2, 3)]
    rows += [verdict("3", "all", "ver-b", "lengths")]  # settings of neither version
    warehouse.append("verdicts", to_frame(Verdict, rows))
    found = compare(warehouse, EpisodeFilter(verified=("ver-a",)), EpisodeFilter(verified=("ver-strict",)))
    assert {key: change.such_as for key, change in found.items()} == {
        ("went", "new@1 rejects it: grounded by other verify thresholds"): ("ep-0",),
        ("went", "new@1 rejects it: closed_book by other verify thresholds"): ("ep-1",),
    }


def test_what_curation_left_out_names_the_check(warehouse: Warehouse) -> None:
    add(warehouse, *(episode(str(n), "ver-a") for n in range(4)))
    warehouse.append_all(
        {"verdicts": to_frame(Verdict, [verdict("2", "near_duplicate", "cur", "twin of ctx-1", episode_id="ep-2")])}
    )
    found = compare(warehouse, EpisodeFilter(), EpisodeFilter(curation="cur"))
    assert {key: change.such_as for key, change in found.items()} == {
        ("went", "new@1 leaves it out: near_duplicate"): ("ep-2",)
    }


def test_the_same_question_with_other_evidence_has_changed(warehouse: Warehouse) -> None:
    add(warehouse, episode("1", "ver-a", "ctx-1"), episode("2", "ver-strict", "ctx-1", evidence=(1,)))
    found = compare(warehouse, EpisodeFilter(fingerprints=("ver-a",)), EpisodeFilter(fingerprints=("ver-strict",)))
    assert {key: change.such_as for key, change in found.items()} == {
        ("changed", "other evidence, by other verify thresholds"): ("ep-2",)
    }


def test_causes_add_up_to_the_difference(warehouse: Warehouse) -> None:
    """Came, went, changed and the same account for every member of both versions."""
    add(warehouse, *(episode(f"{n:03d}", ("ver-a", "ver-b", "fp-x")[n % 3], f"ctx-{n // 2}") for n in range(60)))
    rows = [verdict(f"{n:03d}", "near_duplicate", "cur", "twin", episode_id=f"ep-{n:03d}") for n in range(0, 60, 7)]
    warehouse.append("verdicts", to_frame(Verdict, rows))
    old = publish(warehouse, "d", "{}", None, EpisodeFilter(fingerprints=("ver-a", "fp-x")))
    new = publish(warehouse, "d", "{}", None, EpisodeFilter(fingerprints=("ver-b", "fp-x"), curation="cur"))
    found = diff(warehouse, old, new)
    assert found.same + found.came + found.changed == new.episodes
    assert found.changed > 0
    assert found.went > 0
    held = set(warehouse.query("SELECT episode_id FROM dataset_members WHERE dataset_id = ?", (old.dataset_id,)).rows())
    both = held & set(
        warehouse.query("SELECT episode_id FROM dataset_members WHERE dataset_id = ?", (new.dataset_id,)).rows()
    )
    assert found.same == len(both)


def test_old_versions_show_and_differ_the_same_after_more_is_made(warehouse: Warehouse) -> None:
    add(warehouse, *(episode(str(n), "ver-a") for n in range(3)))
    first = publish(warehouse, "d", "{}", None, EpisodeFilter())
    add(warehouse, *(episode(str(n), "ver-b") for n in range(3, 6)))
    second = publish(warehouse, "d", "{}", None, EpisodeFilter())
    before = diff(warehouse, first, second)
    add(warehouse, *(episode(str(n), "ver-strict") for n in range(6, 9)))
    warehouse.append("verdicts", to_frame(Verdict, [verdict("1", "all", "ver-strict", "grounded")]))
    publish(warehouse, "d", "{}", None, EpisodeFilter())
    assert diff(warehouse, resolve(warehouse, "d@1"), resolve(warehouse, "d@2")) == before
    assert (resolve(warehouse, "d@1"), resolve(warehouse, "d@2")) == (first, second)
    assert publish(warehouse, "d", "other", "other commit", EpisodeFilter(fingerprints=("ver-a",))) == first


def test_a_retired_version_has_no_episodes_to_compare(warehouse: Warehouse) -> None:
    add(warehouse, episode("1", "ver-a"))
    version = publish(warehouse, "d", "{}", None, EpisodeFilter())
    warehouse.transaction(lambda con: con.execute("DELETE FROM lake.dataset_members"))
    with pytest.raises(EvoError, match="d@1 was retired"):
        resolve(warehouse, "d@1")
    assert resolve(warehouse, "d@1", retired=True) == version
    assert publish(warehouse, "d", "{}", None, EpisodeFilter()) == version
    assert resolve(warehouse, "d") == version


def test_what_was_made_from_something_withdrawn_says_so(warehouse: Warehouse) -> None:
    add(warehouse, *(episode(str(n), "ver-a") for n in range(4)))
    first = publish(warehouse, "d", "{}", None, EpisodeFilter())
    withdraw(warehouse, "ep-2", "its author asked", "us", "")
    found = diff(warehouse, first, resolve(warehouse, "d@2"))
    assert [(c.change, c.why, c.such_as) for c in found.changes] == [
        ("went", "what it was made from was withdrawn", ("ep-2",))
    ]
    assert diff(warehouse, resolve(warehouse, "d@2"), first).changes[0].why == "more items of the same settings"

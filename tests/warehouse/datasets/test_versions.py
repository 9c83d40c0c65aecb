"""Publishing: the same content is the same version, other content the next one; hostile names are refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import (
    EpisodeFilter,
    check_name,
    episodes_of,
    list_versions,
    publish,
    resolve,
    texts_of,
)
from tests.warehouse.world import make_partition

ALL = EpisodeFilter()


def test_same_content_same_version_then_the_next(warehouse: Warehouse) -> None:
    first = publish(warehouse, "demo", "{}", "abc", ALL)
    assert (first.label, first.parent, first.episodes) == ("demo@1", None, 30)
    assert publish(warehouse, "demo", "{}", "def", ALL) == first
    warehouse.append_all(make_partition(30, 33))
    second = publish(warehouse, "demo", "{}", "abc", ALL)
    assert (second.label, second.parent, second.episodes) == ("demo@2", "demo@1", 33)
    assert second.digest != first.digest
    assert resolve(warehouse, "demo") == second
    assert resolve(warehouse, "demo@1") == first
    assert len(episodes_of(warehouse, first.dataset_id)) == 30
    assert episodes_of(warehouse, second.dataset_id)["episode_id"].n_unique() == 33


def test_filters_choose_episodes(warehouse: Warehouse) -> None:
    cloze = publish(warehouse, "cloze", "{}", None, EpisodeFilter(generators=("cloze",), fingerprints=("fp", "other")))
    assert set(episodes_of(warehouse, cloze.dataset_id)["generator"]) == {"cloze"}
    for nothing in (EpisodeFilter(split="heldout"), EpisodeFilter(fingerprints=("other",))):
        with pytest.raises(EvoError, match=r"no (train|heldout) episodes of this recipe"):
            publish(warehouse, "empty", "{}", "", nothing)
    assert all(v.name != "empty" for v in list_versions(warehouse))


def test_texts_cover_segments_questions_and_answers(warehouse: Warehouse) -> None:
    version = publish(warehouse, "texts", "{}", "", EpisodeFilter(generators=("cloze",)))
    texts = list(texts_of(warehouse, version.dataset_id, 1000))
    assert "What is 1?\n1" in texts
    assert "What is 2?\n2" not in texts
    assert any(t.startswith("User: word") for t in texts)
    some = list(texts_of(warehouse, version.dataset_id, 3))
    assert sum("What is" in t for t in some) == 3
    assert set(some) < set(texts)


def test_publishers_at_once_agree(warehouse: Warehouse) -> None:
    def one(_: int) -> str:
        with Warehouse.open(warehouse.home) as own:
            return publish(own, "race", "{}", "", ALL).dataset_id

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(one, range(3)))) == 1
    version = resolve(warehouse, "race")
    members = warehouse.query("SELECT * FROM dataset_members WHERE dataset_id = ?", (version.dataset_id,))
    assert len(members) == version.episodes
    assert [v.number for v in list_versions(warehouse) if v.name == "race"] == [1]


def test_unknown_label_names_the_known(warehouse: Warehouse) -> None:
    publish(warehouse, "known", "{}", "", ALL)
    for label in ("nope", "known@9", "known@", "known@x", "known@01"):
        with pytest.raises(EvoError, match="known@1"):
            resolve(warehouse, label)


def test_unknown_in_an_empty_warehouse(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as empty, pytest.raises(EvoError, match="none yet"):
        resolve(empty, "demo@1")


@pytest.mark.parametrize(
    "name", ["../x", "a'; drop table episodes; --", "🙂", "x" * 300, "", ".hidden", "A", "a@1", "a\n", "a/b"]
)
def test_hostile_names_are_refused(name: str) -> None:
    with pytest.raises(EvoError, match="not allowed") as caught:
        check_name(name)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=80))
def test_allowed_names_are_safe_file_names(name: str) -> None:
    try:
        check_name(name)
    except EvoError:
        return
    assert 1 <= len(name) <= 64
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert Path(name).name == name

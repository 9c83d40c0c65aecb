"""Tags: movable names of versions, each move kept; they look neither like numbers nor like paths."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.tags import TAG, remove_tag, set_tag, tag_history
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish, resolve, tags
from evoembedding.warehouse.lineage.impact import impact
from evoembedding.warehouse.lineage.trace import trace

HOSTILE = ["../x", "a'; drop table episodes; --", "🙂", "x" * 300, "", "1", "007", "9a", "A", "a@b", "a\n", "a/b", " a"]


def test_a_tag_moves_and_every_move_is_kept(warehouse: Warehouse) -> None:
    first = publish(warehouse, "tagged", "{}", None, EpisodeFilter())
    second = publish(warehouse, "tagged", "{}", None, EpisodeFilter(generators=("cloze",)))
    set_tag(warehouse, "tagged@1", "stable")
    set_tag(warehouse, "tagged@2", "canary")
    assert resolve(warehouse, "tagged@stable") == first
    assert trace(warehouse, "tagged@stable").label == impact(warehouse, "tagged@stable").label == "tagged@1"
    set_tag(warehouse, "tagged@canary", "stable")
    assert resolve(warehouse, "tagged@stable") == second
    snapshot = warehouse.snapshot()
    set_tag(warehouse, "tagged", "stable")  # where it is already
    assert warehouse.snapshot() == snapshot
    remove_tag(warehouse, "tagged", "canary")
    assert tags(warehouse, "tagged") == {"stable": second.dataset_id}
    moves = tag_history(warehouse, "tagged").select("tag", "dataset", "current").rows()
    assert moves == [
        ("canary", "", True),
        ("canary", "tagged@2", False),
        ("stable", "tagged@2", True),
        ("stable", "tagged@1", False),
    ]
    with pytest.raises(EvoError, match="unknown dataset 'tagged@canary'"):
        resolve(warehouse, "tagged@canary")
    with pytest.raises(EvoError, match="no tag 'canary'"):
        remove_tag(warehouse, "tagged", "canary")
    set_tag(warehouse, "tagged@1", "canary")
    assert resolve(warehouse, "tagged@canary") == first


def test_tags_belong_to_their_name(warehouse: Warehouse) -> None:
    version = publish(warehouse, "here", "{}", None, EpisodeFilter())
    publish(warehouse, "there", "{}", None, EpisodeFilter())
    set_tag(warehouse, "here@1", "best")
    assert resolve(warehouse, "here@best") == version
    with pytest.raises(EvoError, match="unknown"):
        resolve(warehouse, "there@best")
    assert len(tag_history(warehouse)) >= 1


@pytest.mark.parametrize("tag", HOSTILE)
def test_hostile_tags_are_refused(warehouse: Warehouse, tag: str) -> None:
    publish(warehouse, "hostile", "{}", None, EpisodeFilter())
    with pytest.raises(EvoError, match="nothing was tagged") as caught:
        set_tag(warehouse, "hostile@1", tag)
    assert "\n" not in str(caught.value)
    with pytest.raises(EvoError, match="has no tag"):
        remove_tag(warehouse, "hostile", tag)
    assert tags(warehouse, "hostile") == {}


@given(st.text(max_size=80))
def test_allowed_tags_are_safe_names(tag: str) -> None:
    if TAG.fullmatch(tag):
        assert 1 <= len(tag) <= 64
        assert set(tag) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
        assert not tag[0].isdigit()
        assert Path(tag).name == tag


def test_an_unknown_version_is_not_tagged(warehouse: Warehouse) -> None:
    with pytest.raises(EvoError, match="unknown dataset 'nothing@1'"):
        set_tag(warehouse, "nothing@1", "stable")

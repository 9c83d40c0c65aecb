"""Places lead nowhere but under their root: not read, and above all not removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.places import place_of, remove, resolve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A home with a file in a folder, and beside it another with the same."""
    for name in ("home", "other"):
        (tmp_path / name / "shards").mkdir(parents=True)
        (tmp_path / name / "shards" / "x").write_text(name)
    return tmp_path / "home"


def hostile(root: Path) -> list[str]:
    """Places that lead to the other home, in every way."""
    other = root.parent / "other"
    (root / "link").symlink_to(other)
    (root / "shards" / "relative").symlink_to("../../other/shards")
    (root / "chain").symlink_to("link/shards")
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to("..")
    climbing = ["../other/shards", "shards/../../other/shards", "shards/../..", ".."]
    absolute = [str(other / "shards"), f"/{other}", str(root / "shards"), "/"]
    links = ["link", "link/shards", "shards/relative", "chain/x", "loop", "loop/x", "up/other/shards", "link/new"]
    return [*climbing, *absolute, *links, "", ".", "a\0b", "./../other"]


def test_a_place_that_leads_out_is_neither_resolved_nor_removed(root: Path) -> None:
    for place in hostile(root):
        for look in (resolve, remove):
            with pytest.raises(EvoError, match="leads out of"):
                look(place, root)
    assert (root.parent / "other" / "shards" / "x").read_text() == "other"
    assert (root / "shards" / "x").read_text() == "home"


def test_a_path_and_its_place(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    for path in (root / "shards" / "x", Path("home/shards/x"), root / "shards" / ".." / "shards" / "x"):
        assert place_of(path, root) == place_of(path, Path("home")) == "shards/x"
    assert resolve("shards/x", root) == root / "shards" / "x"
    assert resolve("runs/run-1/model", root) == root / "runs" / "run-1" / "model"  # though nothing is there
    hostile(root)
    for path in (root, root.parent / "other", root / "link" / "x", root / "up" / "other"):
        with pytest.raises(EvoError, match="does not lie in"):
            place_of(path, root)


def test_a_root_may_be_a_link_itself(root: Path) -> None:
    (root.parent / "moved").symlink_to(root)
    assert resolve("shards/x", root.parent / "moved").read_text() == "home"
    assert place_of(root / "shards" / "x", root.parent / "moved") == "shards/x"


def test_removing_takes_a_link_and_leaves_what_it_leads_to(root: Path) -> None:
    (root / "runs").mkdir()
    (root / "runs" / "link").symlink_to(root.parent / "other")
    (root / "shards" / "inner").symlink_to("x")
    assert remove("runs", root)
    assert remove("shards/inner", root)
    assert not remove("shards/inner", root)
    assert [path.name for path in root.iterdir()] == ["shards"]
    assert (root / "shards" / "x").exists()
    assert (root.parent / "other" / "shards" / "x").exists()
    assert remove("shards", root)
    assert not any(root.iterdir())

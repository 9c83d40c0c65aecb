"""Names of backbones that stand for nothing are told at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from typer.testing import CliRunner

from evoembedding.flows.commands.app import app
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.backbones.known import BACKBONES
from evoembedding.trainer.backbones.names import check_backbone_name, source


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is a port that nobody listens at."""
    monkeypatch.setattr("evoembedding.trainer.backbones.names.HfApi", lambda: HfApi("http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nonsense", "unknown backbone 'nonsense'"),
        ("", "unknown backbone ''"),
        ("a/b/c", "unknown backbone 'a/b/c'"),
        ("/nowhere/at/all", "unknown backbone '/nowhere/at/all'"),
        ("nobody/nonsense", "backbone 'nobody/nonsense' is no folder, and cannot be had from the hub"),
        ("red\x1b[31m/\u202e", r"backbone 'red\x1b[31m/\u202e' is no folder"),
        ("qwen3-4b", "backbone 'qwen3-4b' is no folder, and cannot be had from the hub"),
    ],
)
def test_a_name_that_stands_for_nothing_is_one_sentence(name: str, says: str) -> None:
    with pytest.raises(EvoError, match=f"{re.escape(says)}.*nothing was trained") as caught:
        check_backbone_name(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", BACKBONES)
def test_a_known_name_stands_for_one_thing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVO_HOME", str(tmp_path))
    known = BACKBONES[name]
    assert known.says and not (known.hub and known.prepared_by)
    if not known.prepared_by:
        assert source(name) == (known.hub or name)
        return
    with pytest.raises(EvoError, match=f"run '{known.prepared_by}' once"):
        source(name)
    (tmp_path / "backbones" / name).mkdir(parents=True)
    (tmp_path / "backbones" / name / "config.json").write_text("{}")
    assert source(name) == str(tmp_path / "backbones" / name)


def test_tiny_and_folders_need_no_hub(tmp_path: Path) -> None:
    check_backbone_name("tiny")
    check_backbone_name(str(tmp_path))


def test_shard_says_it_before_it_looks_at_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVO_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["shard", "d@1", "--backbone", "nonsense"])
    assert isinstance(result.exception, EvoError)
    assert "unknown backbone 'nonsense'" in str(result.exception)

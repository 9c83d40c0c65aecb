"""The published folder and the sessions of what it loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.configs import TrainConfig
from schemas.episode import Draft, Segment
from schemas.errors import EvoError
from trainer.checkpoint import CONFIG, WEIGHTS, load_model, save_model, weights_digest, write_lineage
from trainer.embedder import EvoEmbedder
from trainer.model import EvoModel
from trainer.text import EvoTokenizer


@pytest.fixture
def folder(model: EvoModel, tokenizer: EvoTokenizer, tmp_path: Path) -> Path:
    save_model(model, tokenizer, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="module")
def segments(drafts: list[Draft]) -> tuple[Segment, ...]:
    return drafts[0].context.segments


def test_folder_holds_no_pickle_and_gives_the_same_weights(folder: Path, model: EvoModel) -> None:
    assert {f.suffix for f in folder.iterdir()} <= {".safetensors", ".json", ".jinja"}
    loaded, _ = load_model(folder)
    for (name, one), (_, other) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    before = weights_digest(folder)
    save_model(loaded, load_model(folder)[1], folder)
    assert weights_digest(folder) == before


def test_session_scores_as_the_encoder(folder: Path, segments: tuple[Segment, ...]) -> None:
    embedder = EvoEmbedder.load(folder)
    queries = ["Where?", "Who has the pet now?"]
    session = embedder.session()
    vectors = session.append(segments)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(session.score(queries), embedder.score(segments, queries), atol=1e-5)
    assert np.allclose(session.query(queries[0]) @ vectors.T, session.score(queries)[0], atol=1e-5)
    best = embedder.rerank(queries[0], segments)
    assert best[0] == int(np.argmax(session.score(queries)[0]))
    assert sorted(best) == list(range(len(segments)))


def test_appending_in_parts_at_segment_batches_is_appending_at_once(
    folder: Path, segments: tuple[Segment, ...], config: TrainConfig
) -> None:
    """Also far beyond a full queue: what was pushed out is gone, what remains is the same."""
    many, size = segments * 3, config.batch_segments * 2
    whole, parts = EvoEmbedder.load(folder).session(), EvoEmbedder.load(folder).session()
    whole.append(many)
    for start in range(0, len(many), size):
        parts.append(many[start : start + size])
    assert np.allclose(whole.vectors, parts.vectors, atol=1e-5)
    assert np.allclose(whole.query("Where?"), parts.query("Where?"), atol=1e-5)


def test_asking_does_not_change_the_memory_but_reading_does(folder: Path, segments: tuple[Segment, ...]) -> None:
    session = EvoEmbedder.load(folder).session()
    session.append(segments[:4])
    first = session.query("Where?")
    assert np.array_equal(first, session.query("Where?"))
    session.append(segments[4:5])
    assert not np.allclose(first, session.query("Where?"), atol=1e-4)


def test_memory_off_is_static(folder: Path, segments: tuple[Segment, ...]) -> None:
    embedder = EvoEmbedder.load(folder, memory=False)
    assert embedder.name != EvoEmbedder.load(folder).name
    session = embedder.session()
    first = session.query("Where?")
    session.append(segments)
    assert np.allclose(first, session.query("Where?"), atol=1e-6)
    assert np.allclose(session.vectors[::-1], embedder.session().append(segments[::-1]), atol=1e-5)


def test_nothing_read_scores_nothing(folder: Path) -> None:
    session = EvoEmbedder.load(folder).session()
    assert session.score(["Where?"]).shape == (1, 0)
    assert session.append([]).shape[0] == 0
    assert session.score([]).shape == (0, 0)


def test_lineage_and_card(folder: Path) -> None:
    names = ("model_id", "dataset", "dataset_digest", "training_run_id", "git_commit")
    write_lineage(folder, {name: f"the-{name}" for name in names})
    assert json.loads((folder / "lineage.json").read_text())["model_id"] == "the-model_id"
    assert "evo trace the-model_id" in (folder / "README.md").read_text()


def cut_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def drop_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def break_config(folder: Path) -> None:
    (folder / CONFIG).write_text("{")


def wider_config(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config["train"]["model"]["hidden"] = 64
    (folder / CONFIG).write_text(json.dumps(config))


def more_layers(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config["train"]["model"]["layers"] = 3
    (folder / CONFIG).write_text(json.dumps(config))


def drop_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize("damage", [cut_weights, drop_weights, break_config, wider_config, more_layers, drop_tokenizer])
def test_damaged_folder_is_one_sentence(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    with pytest.raises(EvoError) as caught:
        EvoEmbedder.load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)

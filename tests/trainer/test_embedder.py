"""The published folder and the sessions of what it loads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.episode import Draft, Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.embedder import EvoEmbedder
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model_folder import CONFIG, WEIGHTS, load_model, save_model, weights_digest, write_lineage
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer


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
    assert best == session.top(queries[0], len(segments))
    assert best[0].segment == int(np.argmax(session.score(queries)[0]))
    assert sorted(segment for segment, _ in best) == list(range(len(segments)))
    assert embedder.rerank(queries[0], segments, k=3) == best[:3]


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
    assert session.query([]).shape == (0, 24)
    assert list(session.stream([])) == []
    embedder = EvoEmbedder.load(folder)
    assert embedder.rerank("Where?", []) == []
    assert embedder.score([], []).shape == (0, 0)
    assert embedder.sessions([]) == []
    assert embedder.sessions([[]])[0].vectors.shape == (0, 24)


def test_encode_is_each_text_alone_in_its_order(folder: Path, segments: tuple[Segment, ...]) -> None:
    embedder, static = EvoEmbedder.load(folder), EvoEmbedder.load(folder, memory=False).session()
    wanted = static.append(segments)
    assert np.allclose(embedder.encode(segments, batch_size=3), wanted, atol=1e-5)
    texts = [segment.user for segment in segments]
    plain = np.stack([embedder.encode(text) for text in texts])
    assert np.allclose(embedder.encode(texts), plain, atol=1e-5)
    asked = embedder.encode(texts, prompt_name="query", batch_size=5)
    assert np.allclose(asked, static.query(texts), atol=1e-5)
    assert not np.allclose(asked, plain, atol=1e-3)


def test_encode_reads_batches_of_like_length(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = EvoEmbedder.load(folder)
    shapes: list[tuple[int, int]] = []
    run = embedder.model.backbone.hidden

    def noted(inputs: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        shapes.append((inputs.shape[0], inputs.shape[1]))
        return run(inputs, *rest, **more)

    monkeypatch.setattr(embedder.model.backbone, "hidden", noted)
    embedder.encode(["red", "red " * 40] * 6, batch_size=6)
    assert [rows for rows, _ in shapes] == [6, 6]
    assert shapes[0][1] > 30 > shapes[1][1]


def test_encode_has_the_shapes_of_sentence_transformers(folder: Path) -> None:
    """As code for that library calls it."""
    model = EvoEmbedder.load(folder)
    corpus = ["I moved to Lisbon.", "The cat is old.", "I live in Porto now."]
    embeddings = model.encode(corpus, batch_size=2, show_progress_bar=False, normalize_embeddings=True)
    query = model.encode("Where do I live?", prompt_name="query")
    assert embeddings.shape == (3, 24)
    assert query.shape == (24,)
    assert embeddings.dtype == np.float32
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    tensors = model.encode(corpus, prompt_name="document", convert_to_numpy=False)
    assert torch.allclose(tensors, torch.from_numpy(embeddings), atol=1e-5)
    assert torch.equal(model.encode(corpus, convert_to_tensor=True), tensors)
    assert model.encode([]).shape == (0, 24)
    assert model.encode(Segment(user="Hello", assistant="Hi")).shape == (24,)
    with pytest.raises(EvoError, match="no prompt 'passage'"):
        model.encode(corpus, prompt_name="passage")
    with pytest.raises(EvoError, match="batch_size is 0"):
        model.encode(corpus, batch_size=0)


def test_encode_shows_its_progress_when_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = EvoEmbedder.load(folder)
    model.encode(["a", "b"], show_progress_bar=False)
    assert capsys.readouterr().out == ""
    model.encode(["a", "b"], show_progress_bar=True)
    assert "encode" in capsys.readouterr().out


def test_an_empty_text_is_a_text(folder: Path) -> None:
    embedder = EvoEmbedder.load(folder)
    session = embedder.session()
    made = [
        *session.append([Segment(user=""), Segment(user="", assistant="Hi")]),
        session.query(""),
        embedder.encode(""),
    ]
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)


LONG = "red car " * 12_500  # 100,000 characters; `tiny` has 32,768 positions
SURROGATE = "a \ud800 b"
ASKED = {
    "append": lambda e, s: e.session().append(s),
    "stream": lambda e, s: list(e.session().stream(s)),
    "sessions": lambda e, s: e.sessions([[Segment(user="fine")], s]),
    "encode": lambda e, s: e.encode(s),
    "query": lambda e, s: e.session().query([t.user if isinstance(t, Segment) else t for t in s]),
    "encode a query": lambda e, s: e.encode([t.user if isinstance(t, Segment) else t for t in s], prompt_name="query"),
}


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Segment(user=LONG), r"1 has [\d,]+ tokens, .* positions for 32,7\d\d"),
        (Segment.model_construct(user=SURROGATE), r"1 has a lone surrogate, U\+D800 at character 2"),
        (Segment.model_construct(user=7), "1 is a int, not a"),
        ({"user": "a"}, "1 is a dict, not a"),
        (None, "1 is a NoneType, not a"),
    ],
    ids=["long", "surrogate", "number inside", "dict", "None"],
)
def test_bad_input_is_one_sentence_that_says_where(folder: Path, ask: str, bad: Any, says: str) -> None:
    with pytest.raises(EvoError, match=says) as caught:
        ASKED[ask](EvoEmbedder.load(folder), [Segment(user="fine"), bad])
    assert "not read" in str(caught.value)
    assert "\n" not in str(caught.value)
    if ask == "sessions":
        assert str(caught.value).startswith("conversation 1, segment 1 ")


@pytest.mark.parametrize("one", ["I moved.", Segment(user="I moved."), 7, None])
def test_one_in_place_of_several_is_one_sentence(folder: Path, one: Any) -> None:
    embedder = EvoEmbedder.load(folder)
    session = embedder.session()
    for ask in (session.append, session.score, lambda s: list(session.stream(s)), lambda s: embedder.sessions([s])):
        with pytest.raises(EvoError, match=f"one {type(one).__name__}, not several; nothing was read"):
            ask(one)
    assert session.segments == 0


def test_a_text_in_place_of_a_segment_is_told_how_to_become_one(folder: Path) -> None:
    with pytest.raises(EvoError, match=r"segment 0 is a str, not a Segment; it was not read; write Segment\(user="):
        EvoEmbedder.load(folder).session().append(["I moved."])  # type: ignore[list-item]


def test_a_device_that_is_not_there_is_one_sentence(folder: Path) -> None:
    assert EvoEmbedder.load(folder, device="cpu").encode("a").shape == (24,)
    for device in ("teapot", *(["cuda"] if not torch.cuda.is_available() else [])):
        with pytest.raises(EvoError, match=f"no device '{device}' here"):
            EvoEmbedder.load(folder, device=device)


def test_lineage_and_card(folder: Path) -> None:
    names = ("model_id", "dataset", "dataset_digest", "training_run_id", "package_version", "git_commit")
    write_lineage(folder, {name: f"the-{name}" for name in names})
    assert json.loads((folder / "lineage.json").read_text())["model_id"] == "the-model_id"
    card = (folder / "README.md").read_text()
    assert "evo trace the-model_id" in card
    assert "evoembedding the-package_version, the code at `the-git_commit`" in card


@pytest.mark.parametrize("page", ["model card", "docs/embedder.md", "README.md"])
def test_the_examples_of_a_page_run(folder: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("model_id", "dataset", "dataset_digest", "training_run_id", "package_version", "git_commit")
    write_lineage(folder, dict.fromkeys(names, "it"))
    path = folder / "README.md" if page == "model card" else Path(__file__).parents[2] / page
    told = path.read_text().replace(".evo/runs/run-.../model", "model")
    examples = re.findall(r"```python\n(.*?)```", told, flags=re.DOTALL)
    assert "from evoembedding import " in examples[0]
    monkeypatch.chdir(folder.parent)
    names_of_examples: dict[str, Any] = {}
    for example in examples:
        exec(example, names_of_examples)
    assert names_of_examples["session"].segments in (2, 1000)


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

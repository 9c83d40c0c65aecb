"""Sessions: streamed, saved, side by side, and asked by many threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.episode import Draft, Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.embedder import EvoEmbedder
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.session import Session
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer

QUERIES = ["Where?", "Who has the pet now?", "What did I say about the red car first?"]
WORDS = ["cat", "moved", "to", "Porto", "and", "then", "back", "Lisbon", "with", "her", "brother", "sold", "old", "car"]
# Words a segment: empty ones, usual ones, and some that pass a segment batch's limit of tokens alone.
LENGTHS = st.lists(st.sampled_from([0, 1, 4, 12, 30, 90]), max_size=12)
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def conversation(lengths: list[int], seed: int = 0) -> list[Segment]:
    """Segments of so many words, different from each other."""
    rng = np.random.default_rng([seed, *lengths])
    return [Segment(user=" ".join(rng.choice(WORDS, n)), assistant="I see.") for n in lengths]


@pytest.fixture
def embedder(
    config: TrainConfig, make_model: Callable[[TrainConfig], EvoModel], tokenizer: EvoTokenizer
) -> EvoEmbedder:
    """Segment batches of at most 3 segments and 60 tokens, so that either limit cuts."""
    return EvoEmbedder(make_model(config.model_copy(update={"batch_tokens": 60})), tokenizer)


@pytest.fixture
def adapted(
    config: TrainConfig, make_model: Callable[[TrainConfig], EvoModel], tokenizer: EvoTokenizer, llama: Path
) -> EvoEmbedder:
    """A backbone with an adapter a role, which are switched on the shared decoder."""
    model = config.model.model_copy(update={"backbone": str(llama), "lora_rank": 4, "lora_alpha": 8})
    return EvoEmbedder(make_model(config.model_copy(update={"model": model})), tokenizer)


@pytest.fixture(autouse=True)
def small_prefixes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few segments share a prefix in the retriever, so that short conversations have several."""
    monkeypatch.setattr("evoembedding.trainer.model.evo_model.BLOCK", 3)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads a few segments at a time, so that short conversations are several blocks."""
    monkeypatch.setattr("evoembedding.trainer.model.reader.SEGMENTS_A_READ", 5)


@pytest.fixture(scope="module")
def segments(drafts: list[Draft]) -> tuple[Segment, ...]:
    return drafts[0].context.segments


def alike(one: Session, other: Session) -> None:
    assert one.segments == other.segments
    assert np.allclose(one.vectors, other.vectors, atol=1e-5)
    assert np.allclose(one.query(QUERIES), other.query(QUERIES), atol=1e-5)


@SLOW
@given(lengths=LENGTHS)
def test_a_stream_is_one_append(embedder: EvoEmbedder, small_blocks: None, lengths: list[int]) -> None:
    """Also where a segment batch would lie across two blocks."""
    told = conversation(lengths)
    whole, streamed = embedder.session(), embedder.session()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evoembedding.trainer.model.reader.SEGMENTS_A_READ", 1000)
        whole.append(told)
    blocks = list(streamed.stream(iter(told)))
    assert sum(map(len, blocks)) == len(told)
    alike(whole, streamed)
    assert np.array_equal(np.concatenate([streamed.vectors[:0], *blocks]), streamed.vectors)


def test_a_stream_yields_before_its_source_ends(embedder: EvoEmbedder, small_blocks: None) -> None:
    taken = 0

    def source() -> Iterator[Segment]:
        nonlocal taken
        while True:
            taken += 1
            yield Segment(user=f"number {taken}")

    session = embedder.session(keep_vectors=False)
    read = 0
    for vectors in session.stream(source()):
        read += len(vectors)
        assert session.segments == read
        assert taken - read <= 5 + 3  # a block, and a segment batch that may not be complete
        if read > 40:
            break
    assert session.query("Where?").shape == (24,)


def test_what_is_not_kept_costs_nothing(embedder: EvoEmbedder, segments: tuple[Segment, ...]) -> None:
    kept, passing = embedder.session(), embedder.session(keep_vectors=False)
    assert np.array_equal(kept.append(segments), passing.append(segments))
    assert np.array_equal(kept.query(QUERIES), passing.query(QUERIES))
    for ask in (lambda: passing.vectors, lambda: passing.score(QUERIES), lambda: passing.top("Where?")):
        with pytest.raises(EvoError, match=f"keeps no vectors, so its {len(segments)} segments"):
            ask()


def test_vectors_cannot_be_changed(embedder: EvoEmbedder, segments: tuple[Segment, ...]) -> None:
    session = embedder.session()
    session.append(segments)
    with pytest.raises(ValueError, match="read-only"):
        session.vectors[0] = 0


def test_top_is_the_best_of_score(embedder: EvoEmbedder, segments: tuple[Segment, ...]) -> None:
    session = embedder.session()
    assert session.top("Where?") == []
    session.append(segments)
    scores, hits = session.score(["Where?"])[0], session.top("Where?", 3)
    assert [hit.score for hit in hits] == sorted(scores.tolist(), reverse=True)[:3]
    assert all(scores[hit.segment] == hit.score for hit in hits)
    assert len(session.top("Where?", 1000)) == len(segments)


@SLOW
@given(conversations=st.lists(LENGTHS, max_size=5))
def test_side_by_side_is_each_alone(embedder: EvoEmbedder, small_blocks: None, conversations: list[list[int]]) -> None:
    """Whatever their lengths: each is cut into segment batches of its own."""
    told = [conversation(lengths, seed) for seed, lengths in enumerate(conversations)]
    together = embedder.sessions(told, batch_size=3)
    assert len(together) == len(told)
    for session, segments in zip(together, told, strict=True):
        alone = embedder.session()
        alone.append(segments)
        alike(session, alone)
        more = conversation([4, 12])
        assert np.allclose(session.append(more), alone.append(more), atol=1e-5)


def test_side_by_side_with_adapters_and_without_memory(
    adapted: EvoEmbedder, embedder: EvoEmbedder, segments: tuple[Segment, ...]
) -> None:
    off = embedder.model.config.model.model_copy(update={"memory": False})
    embedder.model.config = embedder.model.config.model_copy(update={"model": off})
    static = EvoEmbedder(embedder.model, embedder.tokenizer)
    for some in (adapted, static):
        for session, told in zip(some.sessions([segments[:3], segments]), (segments[:3], segments), strict=True):
            alone = some.session()
            alone.append(told)
            alike(session, alone)
    assert [len(s.vectors) for s in static.sessions([[], segments])] == [0, len(segments)]


@SLOW
@given(first=LENGTHS, then=LENGTHS, keep=st.booleans())
def test_a_restored_session_goes_on_as_if_never_stopped(
    embedder: EvoEmbedder, tmp_path: Path, first: list[int], then: list[int], keep: bool
) -> None:
    a, b = conversation(first), conversation(then, 1)
    through, stopped = embedder.session(keep), embedder.session(keep)
    through.append(a)
    stopped.append(a)
    stopped.save(tmp_path / "session.safetensors")
    restored = embedder.restore(tmp_path / "session.safetensors")
    assert np.array_equal(through.append(b), restored.append(b))
    assert np.array_equal(through.query(QUERIES), restored.query(QUERIES))
    assert restored.segments == len(a) + len(b)
    if keep:
        assert np.array_equal(through.vectors, restored.vectors)
        assert np.array_equal(through.score(QUERIES), restored.score(QUERIES))
    assert [path.name for path in tmp_path.glob("session*")] == ["session.safetensors"]


def cut_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def cut_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def empty_file(path: Path) -> None:
    path.write_bytes(b"")


def no_file(path: Path) -> None:
    path.unlink()


def text_file(path: Path) -> None:
    path.write_text("my session\n" * 100)


def other_safetensors(path: Path) -> None:
    save_file({"latents": torch.zeros(2, 32)}, str(path), metadata={"format": "pt"})


def no_metadata(path: Path) -> None:
    save_file({"latents": torch.zeros(2, 32)}, str(path))


@pytest.mark.parametrize(
    "damage", [cut_file, cut_header, empty_file, no_file, text_file, other_safetensors, no_metadata]
)
def test_a_damaged_or_foreign_file_is_one_sentence(
    embedder: EvoEmbedder, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "session.safetensors"
    session = embedder.session()
    session.append(conversation([4, 4]))
    session.save(path)
    damage(path)
    with pytest.raises(EvoError) as caught:
        embedder.restore(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"latents": torch.zeros(3, 32)}, {"vectors": torch.zeros(2, 25)}, {"latents": None}]
)
def test_tensors_that_do_not_fit_are_one_sentence(
    embedder: EvoEmbedder, tmp_path: Path, change: dict[str, torch.Tensor | None]
) -> None:
    session = embedder.session()
    session.append(conversation([4, 4]))
    session.save(tmp_path / "a")
    tensors = {"latents": torch.zeros(4, 32), "vectors": torch.zeros(2, 24), **change}
    with safe_open(str(tmp_path / "a"), "pt") as file:
        metadata = file.metadata()
    save_file({name: t for name, t in tensors.items() if t is not None}, str(tmp_path / "b"), metadata=metadata)
    with pytest.raises(EvoError, match="cannot be used"):
        embedder.restore(tmp_path / "b")


def test_a_session_that_cannot_be_written_is_one_sentence(
    embedder: EvoEmbedder, segments: tuple[Segment, ...], tmp_path: Path
) -> None:
    session = embedder.session()
    session.append(segments)
    with pytest.raises(EvoError, match=r"session file '.*none/talk' cannot be written"):
        session.save(tmp_path / "none" / "talk")
    (tmp_path / "folder" / "talk").mkdir(parents=True)
    with pytest.raises(EvoError, match=r"session file '.*folder/talk' cannot be written"):
        session.save(tmp_path / "folder" / "talk")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["talk"]
    session.save(tmp_path / "talk")
    assert embedder.restore(tmp_path / "talk").segments == len(segments)


def test_another_models_session_is_one_sentence(
    embedder: EvoEmbedder, tmp_path: Path, config: TrainConfig, tokenizer: EvoTokenizer
) -> None:
    embedder.session().save(tmp_path / "session")
    torch.manual_seed(5)
    other = EvoEmbedder(EvoModel(embedder.model.config, tokenizer.vocabulary).eval(), tokenizer)
    with pytest.raises(EvoError, match=r"model [0-9a-f]{12} wrote it"):
        other.restore(tmp_path / "session")
    recut = embedder.model.config.model_copy(update={"batch_segments": 4})
    embedder.model.config = recut
    with pytest.raises(EvoError, match="wrote it"):
        EvoEmbedder(embedder.model, tokenizer).restore(tmp_path / "session")


def test_a_failed_append_changes_nothing(embedder: EvoEmbedder, small_blocks: None, tmp_path: Path) -> None:
    session = embedder.session()
    session.append(conversation([4, 4]))
    before, vectors = session.query("Where?"), session.vectors
    with pytest.raises(EvoError, match="segment 11 is a str"):
        session.append([*conversation([4] * 11), "text"])  # type: ignore[list-item]
    assert session.segments == 2
    assert session.vectors is vectors
    assert np.array_equal(session.query("Where?"), before)
    session.append(conversation([4]))  # the lock was let go of


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_threads_share_an_embedder_with_adapters(
    adapted: EvoEmbedder, segments: tuple[Segment, ...], hasty_threads: None
) -> None:
    """Some read their own conversations, others ask one session: each gets what it would get alone."""
    told = [list(segments[i:]) for i in range(4)]
    alone = [adapted.session().append(t) for t in told]
    shared = adapted.session()
    shared.append(segments)
    asked, scored = shared.query(QUERIES), shared.score(QUERIES)
    encoded = adapted.encode(QUERIES)

    def work(i: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        kind = i % 4
        if kind == 0:
            return adapted.session().append(told[i // 4 % 4]), alone[i // 4 % 4]
        if kind == 1:
            return shared.query(QUERIES), asked
        if kind == 2:
            return shared.score(QUERIES), scored
        return adapted.encode(QUERIES), encoded

    with ThreadPoolExecutor(8) as pool:
        for got, wanted in pool.map(work, range(64)):
            assert np.allclose(got, wanted, atol=1e-6)


def test_a_question_meets_the_memory_before_an_append_or_after_it(
    adapted: EvoEmbedder, segments: tuple[Segment, ...], hasty_threads: None
) -> None:
    parts = [segments[i : i + 4] for i in range(0, 12, 4)]
    alone = adapted.session()
    known = {0: (alone.query("Where?"), alone.score(["Where?"])[0])}
    for part in parts:
        alone.append(part)
        known[alone.segments] = (alone.query("Where?"), alone.score(["Where?"])[0])
    session, done = adapted.session(), threading.Event()

    def ask() -> set[int]:
        """How much had been read at each answer; its scores must be those of just then."""
        met = set()
        while not done.is_set():
            scores = session.score(["Where?"])[0]
            assert np.allclose(scores, known[len(scores)][1], atol=1e-6)
            met.add(len(scores))
            vector = session.query("Where?")
            assert any(np.allclose(vector, vector_then, atol=1e-6) for vector_then, _ in known.values())
        return met

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for part in parts:
                session.append(part)
        finally:
            done.set()
        met = set().union(*(future.result() for future in asking))
    assert met <= set(known)
    alike(session, alone)


def test_two_appends_take_turns(embedder: EvoEmbedder, hasty_threads: None) -> None:
    told = [conversation([4, 12, 1], seed) for seed in range(6)]
    session = embedder.session()
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(session.append, told))
    assert session.segments == 18
    # In some order, one after the other: the vectors of each lie together.
    starts = {
        n: next(i for i in range(0, 18, 3) if np.array_equal(session.vectors[i : i + 3], made[n])) for n in range(6)
    }
    order = sorted(starts, key=starts.__getitem__)
    again = embedder.session()
    for n in order:
        again.append(told[n])
    alike(session, again)

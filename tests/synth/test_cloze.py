"""Cloze questions: one window holds the answer, whatever the text."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoembedding.schemas.configs import ClozeConfig
from evoembedding.schemas.episode import Document
from evoembedding.synth.cloze import BLANK, cloze, generator
from evoembedding.synth.documents import document
from evoembedding.synth.text import normalise, sentences, windows
from evoembedding.synth.verification import verify

CONFIG = ClozeConfig()
PROSE = " ".join(
    f"In the year {1900 + i} the town of Place{i} built a bridge over the river. It was number {i} of its kind."
    for i in range(200)
)


def made(text: str) -> Document:
    return document("one", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\n ",
        "word",
        "One sentence only.",
        "x" * 100000,
        "...",
        "\x00 \x01",
        "____ ____",
        "é́ ß İstanbul " * 50,
        "def f(x):\n    return {'a': [1, 2]}\n\n" * 200,
        "same words here. " * 500,
        "😀 " * 300,
    ],
)
def test_odd_texts_never_crash(text: str) -> None:
    for draft in cloze(made(text), CONFIG):
        assert all(v.passed for v in verify(draft, set()).verdicts)


@given(st.text(max_size=600), st.integers(10, 40), st.integers(0, 39), st.integers(2, 6))
@settings(max_examples=150, deadline=None)
def test_any_text_gives_only_questions_that_pass(text: str, size: int, overlap: int, longest: int) -> None:
    config = ClozeConfig(window_words=size, overlap_words=overlap, max_segments=longest)
    for draft in cloze(made(text), config):
        assert 2 <= len(draft.context.segments) <= longest
        assert all(v.passed for v in verify(draft, set()).verdicts), draft


@pytest.mark.parametrize("segments", [2, 3, 7, 32])
def test_the_answer_lies_in_the_evidence_window_alone(segments: int) -> None:
    config = CONFIG.model_copy(update={"max_segments": segments, "questions_per_document": 2})
    (draft,) = cloze(made(PROSE), config)
    assert len(draft.questions) == 2
    assert draft.context.document_ids == (made(PROSE).document_id,)
    for question, evidence in zip(draft.questions, draft.evidence, strict=True):
        answer = normalise(question.answer)
        holding = [i for i, s in enumerate(draft.context.segments) if answer in normalise(s.user)]
        assert tuple(holding) == evidence.indices
        assert BLANK in question.text


def test_the_seed_decides_and_repeats() -> None:
    drafts = [list(cloze(made(PROSE), CONFIG.model_copy(update={"seed": seed}))) for seed in (0, 0, 1)]
    assert drafts[0] == drafts[1] != drafts[2]
    assert generator.fingerprint(CONFIG) != generator.fingerprint(CONFIG.model_copy(update={"seed": 1}))


def test_a_short_text_gets_smaller_windows() -> None:
    (draft,) = cloze(made("The harbour was built by Ferdinand in spring. It burned down nine years later."), CONFIG)
    assert len(draft.context.segments) >= 2
    assert draft.questions


@given(st.lists(st.integers(1, 12), max_size=40), st.integers(12, 30), st.integers(0, 11))
def test_windows_cover_every_sentence_and_keep_their_size(lengths: list[int], size: int, overlap: int) -> None:
    units = [["w"] * n for n in lengths]
    cut = windows([len(unit) for unit in units], size, overlap)
    assert sorted({i for window in cut for i in window}) == list(range(len(units)))
    assert all(sum(lengths[i] for i in window) <= size for window in cut)
    for left, right in itertools.pairwise(cut):
        assert sum(lengths[i] for i in set(left) & set(right)) <= overlap
        assert right[-1] > left[-1]


def test_a_long_sentence_is_cut() -> None:
    assert [len(unit) for unit in sentences("word " * 25, 10)] == [10, 10, 5]

"""Stage 1 without a teacher: lengths as in the paper, windows over documents, personas, drawn question types."""

from __future__ import annotations

import random
import statistics
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoembedding.schemas.configs import LengthConfig, QuestionConfig, TeachingConfig, WebConfig
from evoembedding.schemas.episode import Context, Document, Segment
from evoembedding.schemas.teacher import TeacherConfig
from evoembedding.synth.contexts.lengths import cut, draw_segments
from evoembedding.synth.contexts.personas import persona
from evoembedding.synth.contexts.web import NoContextError, web
from evoembedding.synth.fingerprints import chains
from evoembedding.synth.items import Item, items
from evoembedding.synth.questions import draw_types
from evoembedding.synth.taxonomy import QUESTION_TYPES, carried_by
from evoembedding.synth.text import tokens

TEACHER = TeacherConfig(model="m", endpoints=("http://127.0.0.1:1/v1",))
CONFIG = TeachingConfig(teachers=(TEACHER,))


def test_lengths_are_the_paper_s() -> None:
    rng = random.Random(0)
    drawn = [draw_segments(rng, LengthConfig()) for _ in range(40_000)]
    assert statistics.mean(drawn) == pytest.approx(21, abs=0.5)
    assert min(drawn) == 4
    assert 150 < max(drawn) <= 246


@given(st.integers(2, 30), st.integers(0, 30), st.integers(0, 30), st.floats(0, 2), st.integers(0, 99))
def test_lengths_keep_their_bounds(least: int, more: int, most: int, spread: float, seed: int) -> None:
    config = LengthConfig(
        min_segments=least, mean_segments=least + more, max_segments=least + more + most, spread=spread
    )
    assert least <= draw_segments(random.Random(seed), config) <= least + more + most


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(50, 400), st.integers(2, 20))
def test_a_cut_keeps_a_start_within_the_limits(words: list[int], most: int, segments: int) -> None:
    config = LengthConfig(min_segments=2, mean_segments=2, max_segments=segments, max_tokens=most)
    whole = [Segment(user="word " * n) for n in words]
    kept = cut(whole, config)
    assert kept == tuple(whole[: len(kept)])
    assert 1 <= len(kept) <= segments
    assert len(kept) == 1 or sum(tokens(s.text) for s in kept) <= most


@settings(max_examples=60)
@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=400), min_size=1, max_size=20),
    st.integers(10, 80),
    st.integers(0, 30),
)
def test_web_contexts_are_runs_of_the_document(parts: list[str], size: int, overlap: int) -> None:
    document = Document(document_id="doc-1", source_id="s", title="t", uri="", license="", text=". ".join(parts))
    config = CONFIG.model_copy(update={"web": WebConfig(window_tokens=size, overlap_tokens=overlap)})
    try:
        context = web(document, config, "fp")
    except NoContextError:
        return
    words = document.text.split()
    text = "".join(words)
    for segment in context.segments:
        assert "".join(segment.user.split()) in text  # whole words of the document, in its order
    assert len(context.segments) >= 2
    assert context == web(document, config, "fp")


def test_a_web_window_is_about_its_size() -> None:
    text = " ".join(f"Sentence {i} says a thing or two about matter {i * 7}." for i in range(2000))
    document = Document(document_id="doc-1", source_id="s", title="t", uri="", license="", text=text)
    context = web(document, CONFIG, "fp")
    sizes = [tokens(segment.user) for segment in context.segments]
    assert all(50 <= size <= 72 for size in sizes)
    first, second = (segment.user.split(". ") for segment in context.segments[:2])
    assert first[-1].rstrip(".") == second[0]  # the overlap is a whole sentence


def test_an_empty_document_says_why() -> None:
    with pytest.raises(NoContextError, match="too short"):
        web(Document(document_id="d", source_id="s", title="", uri="", license="", text="One."), CONFIG, "fp")


def test_personas_do_not_come_twice() -> None:
    people = [persona(random.Random(i)) for i in range(20_000)]
    assert len(set(people)) == len(people)


def context(kind: str, number: int, segments: int = 20) -> Context:
    return Context.model_validate(
        {
            "context_id": f"ctx-{number:020x}",
            "kind": kind,
            "generator": "g",
            "split": "train",
            "seed": 0,
            "document_ids": (),
            "segments": tuple(Segment(user=str(i)) for i in range(segments)),
            "fingerprint": "fp",
        }
    )


def test_types_are_drawn_by_weight_among_those_that_can_be_carried() -> None:
    for kind in ("dialogue", "web", "memory"):
        drawn = [draw_types(context(kind, n), QuestionConfig(a_context=3), 0) for n in range(3000)]
        can = {t.name for t in carried_by(kind, 20)}
        counts = Counter(t.name for types in drawn for t in types)
        assert set(counts) == can
        assert all(len({t.name for t in types}) == 3 for types in drawn)
    heavy = QuestionConfig(a_context=1, weights={"latest": 50.0, "first": 0.0})
    counts = Counter(draw_types(context("dialogue", n), heavy, 0)[0].name for n in range(2000))
    assert counts["latest"] > 900
    assert counts["first"] == 0
    only = QuestionConfig(types=("latest", "count"))
    assert {t.name for t in draw_types(context("dialogue", 1), only, 0)} <= {"latest", "count"}
    short = draw_types(context("dialogue", 1, segments=2), QuestionConfig(a_context=60), 0)
    assert all(QUESTION_TYPES[t.name].min_segments <= 2 for t in short)


def test_items_are_personas_documents_and_a_share_of_memories() -> None:
    documents = [f"doc-{i:04d}" for i in range(500)]
    found = list(items(CONFIG, reversed(documents)))
    assert found == list(items(CONFIG, documents))
    counts = Counter(item.kind for item in found)
    assert (counts["dialogue"], counts["web"]) == (1000, 500)
    assert 400 < counts["memory"] < 600
    assert len({item.name for item in found}) == len(found)
    assert all(item.source.split(":")[0] in ("dialogue", "web") for item in found if item.kind == "memory")
    fewer = CONFIG.model_copy(
        update={"web": WebConfig(documents=3), "memory": CONFIG.memory.model_copy(update={"share": 0})}
    )
    assert [i for i in items(fewer, documents) if i.kind == "web"] == [Item("web", d) for d in documents[:3]]


def test_fingerprints_follow_what_can_change_a_row_and_nothing_else() -> None:
    base = chains(CONFIG)

    def moved(**changes: object) -> set[tuple[str, str]]:
        other = chains(CONFIG.model_copy(update=changes))
        return {
            (kind, stage.name)
            for kind, chain in base.items()
            for stage, new in zip(chain, other[kind], strict=True)
            if stage.fingerprint != new.fingerprint
        }

    assert not moved(teachers=(TEACHER.model_copy(update={"endpoints": ("http://x/v1",), "max_in_flight": 3}),))
    assert not moved(dialogue=CONFIG.dialogue.model_copy(update={"personas": 7}), web=WebConfig(documents=3))
    thresholds = CONFIG.verify.model_copy(update={"closed_book_most": 0.5})
    assert moved(verify=thresholds) == {(kind, "verify") for kind in base}
    assert ("web", "contexts") not in moved(teachers=(TEACHER.model_copy(update={"model": "other"}),))
    windows = moved(web=WebConfig(window_tokens=80))
    assert ("web", "contexts") in windows
    assert ("memory", "contexts") in windows
    assert ("dialogue", "contexts") not in windows

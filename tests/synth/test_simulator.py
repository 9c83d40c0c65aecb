"""Simulated worlds: deterministic, split cleanly, with exact evidence that word overlap cannot find."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.episode import Draft, Split
from evoembedding.synth.simulator import generator, simulate
from evoembedding.synth.simulator.fillers import POOLS, SPLITS, fillers, partition
from evoembedding.synth.simulator.questions import BUILDERS, candidates
from evoembedding.synth.simulator.render import CLOSERS, OPENERS, REPLIES, STATEMENTS, SUGGESTIONS
from evoembedding.synth.simulator.world import Beat, tell
from evoembedding.synth.taxonomy import QUESTION_TYPES, STATE_TYPES
from evoembedding.synth.text import normalise
from evoembedding.synth.verification import verify

CONFIG = SimulatorConfig(contexts=200)
HELDOUT = CONFIG.model_copy(update={"split": "heldout"})
DRAFTS = list(simulate(CONFIG))
HELDOUT_DRAFTS = list(simulate(HELDOUT))


def texts(drafts: list[Draft]) -> list[str]:
    found = [text for d in drafts for s in d.context.segments for text in (s.user, s.assistant)]
    return found + [q.text for d in drafts for q in d.questions]


@given(seed=st.integers(0, 5), cut=st.integers(0, 6))
@settings(max_examples=15, deadline=None)
def test_partitions_agree_with_the_whole(seed: int, cut: int) -> None:
    config = SimulatorConfig(contexts=6, seed=seed)
    whole = list(simulate(config))
    assert [*simulate(config, 0, cut), *simulate(config, cut, 6)] == whole
    assert [d.context.seed for d in whole] == list(range(6))


@given(low=st.integers(8, 30), more=st.integers(0, 10), count=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_lengths_and_unique_questions(low: int, more: int, count: int) -> None:
    config = SimulatorConfig(contexts=3, min_segments=low, max_segments=low + more, questions_per_context=count)
    for draft in simulate(config):
        assert low <= len(draft.context.segments) <= low + more
        asked = [q.text for q in draft.questions]
        assert 1 <= len(asked) <= count
        assert len(set(asked)) == len(asked)


def test_seed_and_split_change_worlds_and_fingerprints_but_the_count_does_not() -> None:
    other = CONFIG.model_copy(update={"seed": 1})
    ids = [{d.context.context_id for d in drafts} for drafts in (DRAFTS, HELDOUT_DRAFTS, simulate(other))]
    assert not ids[0] & ids[1] and not ids[0] & ids[2]
    assert len({generator.fingerprint(c) for c in (CONFIG, other, HELDOUT)}) == 3
    assert generator.fingerprint(CONFIG) == generator.fingerprint(CONFIG.model_copy(update={"contexts": 7}))


def test_heldout_fillers_never_occur_in_training_text() -> None:
    heldout = {word.lower() for pool in POOLS for word in fillers(pool, "heldout")}
    train = {word for text in texts(DRAFTS) for word in normalise(text).split()}
    assert not heldout & train
    every = [word.lower() for pool in POOLS.values() for word in pool]
    assert sorted(set(every)) == sorted(every)


def template_pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(template)), re.IGNORECASE)


def bare(drafts: list[Draft], split: Split) -> set[str]:
    """Every text with each of the split's openers and closers taken off, as far as it has them."""
    said = set(texts(drafts))
    for opener in sorted(partition(OPENERS, split), key=len, reverse=True):
        said |= {text.removeprefix(opener) for text in said}
    for closer in sorted(partition(CLOSERS, split), key=len, reverse=True):
        said |= {text.removesuffix(closer + ".") + "." for text in said if text.endswith(".")}
    return said


def test_no_heldout_template_is_used_in_training() -> None:
    said = bare(DRAFTS, "train")
    asked = [builder.templates for builder in BUILDERS.values()]
    pools = [*STATEMENTS.values(), *asked, REPLIES, SUGGESTIONS]
    templates = [template for pool in pools for template in partition(pool, "heldout")]
    any_of_them = re.compile("|".join(f"(?:{template_pattern(t).pattern})" for t in templates), re.IGNORECASE)
    assert [text for text in said if any_of_them.fullmatch(text)] == []
    assert all(partition(pool, split) for pool in pools for split in SPLITS)
    heldout = [f for f in (*partition(OPENERS, "heldout"), *partition(CLOSERS, "heldout")) if f]
    assert not [text for text in texts(DRAFTS) for f in heldout if text.startswith(f) or text.endswith(f"{f}.")]


def test_heldout_templates_are_used_in_heldout() -> None:
    said = bare(HELDOUT_DRAFTS, "heldout")
    for kind, pool in STATEMENTS.items():
        if kind != "stands":
            patterns = [template_pattern(t) for t in partition(pool, "heldout")]
            assert any(p.fullmatch(text) for p in patterns for text in said), kind


def test_type_coverage_and_balance() -> None:
    counts = Counter(q.question_type for d in DRAFTS for q in d.questions)
    assert len(counts) >= 12
    assert {QUESTION_TYPES[kind].family for kind in counts} == {kind.family for kind in QUESTION_TYPES.values()}
    share = sum(counts[kind] for kind in STATE_TYPES) / counts.total()
    assert 0.55 < share < 0.75
    assert min(counts[kind] for kind in STATE_TYPES) > counts.total() / 20


def test_every_type_with_a_builder_is_asked_in_both_splits() -> None:
    for split in SPLITS:
        drafts = simulate(SimulatorConfig(contexts=400, questions_per_context=12, split=split))
        assert {q.question_type for d in drafts for q in d.questions} == set(BUILDERS)


def test_the_place_of_a_choice_in_the_question_says_nothing() -> None:
    left: dict[str, list[bool]] = {"event_order": [], "comparison": []}
    for seed in range(600):
        for kind, c in candidates(tell(random.Random(seed), "train", 18)):
            if kind in left:
                assert c.answer in (c.value, c.other)
                left[kind].append(c.answer == c.value)
    assert all(len(places) > 100 and 0.4 < sum(places) / len(places) < 0.6 for places in left.values())


@given(seed=st.integers(0, 10**6), length=st.integers(8, 40), split=st.sampled_from(SPLITS))
@settings(max_examples=300, deadline=None)
def test_each_question_has_one_answer_and_some_segments_as_evidence(seed: int, length: int, split: Split) -> None:
    beats = tell(random.Random(seed), split, length)
    answers: dict[tuple[str, ...], str] = {}
    for kind, c in candidates(beats):
        asked = (kind, c.name, c.attribute, c.event, c.value, c.other)
        assert answers.setdefault(asked, c.answer) == c.answer
        assert 0 < len(c.evidence) < length
        assert list(c.evidence) == sorted(set(c.evidence))


def test_every_question_passes_the_checks() -> None:
    seen: set[str] = set()
    verdicts = [v for d in (*DRAFTS, *HELDOUT_DRAFTS) for v in verify(d, seen).verdicts]
    assert [v for v in verdicts if not v.passed] == []


def test_evidence_holds_the_name_and_the_answer() -> None:
    names = {name.lower() for pool in SPLITS for name in fillers("name", pool)}
    for draft in DRAFTS:
        for question, evidence in zip(draft.questions, draft.evidence, strict=True):
            held = [normalise(draft.context.segments[i].text) for i in evidence.indices]
            if question.question_type in STATE_TYPES:
                (text,) = held
                asked = names & set(normalise(question.text).split())
                assert asked & set(text.split())
                assert normalise(question.answer) in text


def test_answers_of_a_told_world() -> None:
    beats = [
        Beat("set", "Mira", "city", "Paris"),
        Beat("set", "Mira", "city", "Oslo"),
        Beat("event", "Nora", value="wedding"),
        Beat("set", "Mira", "city", "Lima"),
        Beat("considered", "Mira", "city", "Rome"),
        Beat("correct", "Mira", "city", "Cairo", "Lima"),
        Beat("plan", "Nora", value="picnic"),
        Beat("off", "Nora", value="picnic"),
        Beat("plan", "Nora", value="cruise"),
        Beat("stands", "Nora", value="cruise"),
    ]
    found = {kind: (c.answer, c.evidence) for kind, c in candidates(beats)}
    assert found == {
        "latest": ("Cairo", (5,)),
        "first": ("Paris", (0,)),
        "correction": ("Cairo", (5,)),
        "before_event": ("Oslo", (1,)),  # after_event is not asked: the next value was corrected
        "original_plan": ("picnic", (6,)),
        "cancellation": ("picnic", (7,)),
        "considered": ("Rome", (4,)),
        "successor": ("Oslo", (0, 1)),  # Oslo's own successor was corrected
        "misstatement": ("Lima", (3, 5)),
        "frequency": ("one", (5,)),
        "participant": ("Nora", (2,)),
        "current_plan": ("cruise", (9,)),
    }


def track(name: str, *values: str) -> list[Beat]:
    return [Beat("set", name, "city", value) for value in values]


GALA, EXAM = Beat("event", "Nora", value="gala"), Beat("event", "Ravi", value="exam")
ROME_WAS_WRONG = Beat("correct", "Mira", "city", "Bonn", "Rome")
VISIT = [Beat("came", "Mira"), Beat("gift", "Mira", value="vase")]
PEPPER = [Beat("nickname", "Mira", "Pepper"), Beat("borrowed", "Mira", "Pepper", "drill")]
GIVEN = [Beat("donated", "Mira", value=item) for item in ("drill", "tent", "bed")]
PLANNED = [Beat("plan", "Mira", value="picnic"), Beat("plan", "Mira", value="cruise")]
WORLDS: list[tuple[str, list[Beat], list[tuple[str, tuple[int, ...]]]]] = [
    ("reverse_lookup", track("Mira", "Oslo"), [("Mira", (0,))]),
    ("reverse_lookup", track("Mira", "Oslo") + track("Nora", "Oslo", "Lima"), []),
    ("reverse_lookup", [*track("Mira", "Oslo"), Beat("considered", "Nora", "city", "Oslo")], []),
    ("middle", track("Mira", "Oslo", "Rome", "Lima"), [("Rome", (0, 1, 2))]),
    ("middle", [*track("Mira", "Oslo", "Lima", "Rome"), ROME_WAS_WRONG], []),
    ("successor", track("Mira", "Oslo", "Rome"), [("Rome", (0, 1))]),
    ("successor", [*track("Mira", "Oslo", "Rome"), ROME_WAS_WRONG], []),
    ("successor", [*track("Mira", "Rome"), ROME_WAS_WRONG, *track("Mira", "Lima")], [("Lima", (1, 2))]),
    ("misstatement", [*track("Mira", "Oslo", "Rome"), GALA, ROME_WAS_WRONG], [("Rome", (1, 3))]),
    ("misstatement", [*track("Mira", "Rome"), ROME_WAS_WRONG, ROME_WAS_WRONG], []),
    ("frequency", [*track("Mira", "Rome"), ROME_WAS_WRONG, ROME_WAS_WRONG], [("two", (1, 2))]),
    ("change_count", track("Mira", "Oslo", "Rome"), [("two", (0, 1))]),
    ("change_count", [*track("Mira", "Oslo", "Rome"), ROME_WAS_WRONG], []),
    ("comparison", track("Nora", "Oslo") + track("Mira", "Rome", "Lima"), [("Mira", (0, 1, 2))]),
    ("comparison", track("Nora", "Oslo", "Bonn") + track("Mira", "Rome", "Lima"), []),
    ("comparison", [*track("Nora", "Oslo"), *track("Mira", "Rome"), ROME_WAS_WRONG], []),
    ("event_order", [GALA, EXAM], [("gala", (0, 1))]),
    ("event_order", [EXAM, GALA], [("exam", (0, 1))]),
    ("yes_no", [*track("Mira", "Oslo"), GALA, *track("Mira", "Rome")], [("yes", (1, 2))]),
    ("yes_no", [*track("Mira", "Oslo", "Rome"), GALA], [("no", (1, 2))]),
    ("yes_no", [GALA, *track("Mira", "Oslo", "Rome")], []),
    ("yes_no", [*track("Mira", "Oslo", "Rome"), GALA, ROME_WAS_WRONG], []),
    ("current_plan", [*PLANNED, Beat("off", "Mira", value="picnic")], []),
    (
        "current_plan",
        [*PLANNED, Beat("off", "Mira", value="picnic"), Beat("stands", "Mira", value="cruise")],
        [("cruise", (3,))],
    ),
    ("current_plan", [*PLANNED, Beat("stands", "Mira", value="cruise")], []),
    ("pronoun_subject", VISIT, [("Mira", (0, 1))]),
    ("chain", [*VISIT, *track("Mira", "Oslo", "Rome"), *track("Nora", "Lima")], [("Rome", (0, 1, 3))]),
    ("alias", PEPPER, [("Mira", (0,))]),
    ("opinion", [Beat("said", "Mira", "zoo", "great")], [("great", (0,))]),
    ("request", [Beat("suggestion", "Mira", "city", "Rome")], [("Mira", (0,))]),
    ("request", [Beat("suggestion", name, "city", "Rome") for name in ("Mira", "Nora")], []),
    ("listing", GIVEN, [("drill, tent, bed", (0, 1, 2))]),
    ("last", GIVEN, [("bed", (2,))]),
    ("last", GIVEN[:1], []),
]


@pytest.mark.parametrize(("kind", "beats", "expected"), WORLDS)
def test_a_type_on_a_small_world(kind: str, beats: list[Beat], expected: list[tuple[str, tuple[int, ...]]]) -> None:
    assert [(c.answer, c.evidence) for asked, c in candidates(beats) if asked == kind] == expected


def test_a_correction_right_after_an_event_leaves_no_question_about_it() -> None:
    beats = [
        Beat("set", "Mira", "city", "Paris"),
        Beat("event", "Nora", value="wedding"),
        Beat("correct", "Mira", "city", "Cairo", "Paris"),
    ]
    assert "before_event" not in {kind for kind, _ in candidates(beats)}


def test_word_overlap_does_not_find_the_evidence_of_state_questions() -> None:
    hits = total = 0
    for draft in HELDOUT_DRAFTS:
        words = [set(normalise(s.text).split()) for s in draft.context.segments]
        frequency = Counter(word for segment in words for word in segment)
        for question, evidence in zip(draft.questions, draft.evidence, strict=True):
            if question.question_type in STATE_TYPES:
                query = set(normalise(question.text).split())
                scores = [sum(1 / frequency[word] for word in query & segment) for segment in words]
                hits += scores.index(max(scores)) in evidence.indices
                total += 1
    assert total > 500
    assert hits / total < 0.5

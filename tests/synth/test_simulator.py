"""Simulated worlds: deterministic, split cleanly, with exact evidence that word overlap cannot find."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.configs import SimulatorConfig
from schemas.episode import Draft, Split
from synth.checks import verify
from synth.simulator import fingerprint, simulate
from synth.simulator.fillers import POOLS, SPLITS, fillers, partition
from synth.simulator.questions import QUESTIONS, candidates
from synth.simulator.render import CLOSERS, OPENERS, REPLIES, STATEMENTS, SUGGESTIONS
from synth.simulator.world import Beat
from synth.taxonomy import QUESTION_TYPES, STATE_TYPES
from synth.text import normalise

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
    assert len({fingerprint(c) for c in (CONFIG, other, HELDOUT)}) == 3
    assert fingerprint(CONFIG) == fingerprint(CONFIG.model_copy(update={"contexts": 7}))


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
    pools = [*STATEMENTS.values(), *QUESTIONS.values(), REPLIES, SUGGESTIONS]
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
    assert len({QUESTION_TYPES[kind].family for kind in counts}) >= 5
    share = sum(counts[kind] for kind in STATE_TYPES) / counts.total()
    assert 0.55 < share < 0.75
    assert min(counts[kind] for kind in STATE_TYPES) > counts.total() / 20


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
    found = {c.type: (c.answer, c.evidence) for c in candidates(beats)}
    assert found == {
        "latest": ("Cairo", (5,)),
        "first": ("Paris", (0,)),
        "correction": ("Cairo", (5,)),
        "before_event": ("Oslo", (1,)),  # after_event is not asked: the next value was corrected
        "original_plan": ("picnic", (6,)),
        "cancellation": ("picnic", (7,)),
        "considered": ("Rome", (4,)),
    }


def test_a_correction_right_after_an_event_leaves_no_question_about_it() -> None:
    beats = [
        Beat("set", "Mira", "city", "Paris"),
        Beat("event", "Nora", value="wedding"),
        Beat("correct", "Mira", "city", "Cairo", "Paris"),
    ]
    assert "before_event" not in {c.type for c in candidates(beats)}


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

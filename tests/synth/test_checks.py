"""Each check rejects its kind of bad question, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from evoembedding.schemas.episode import Context, Draft, Evidence, Question, Segment
from evoembedding.synth.checks import CHECKS
from evoembedding.synth.verification import fingerprint, verify


def draft(
    segments: tuple[str, ...] = ("Mira lives in Oslo.", "It rains.", "Nora came."),
    indices: tuple[int, ...] = (0,),
    **question: Any,
) -> Draft:
    context = Context(
        context_id="ctx-1",
        kind="dialogue",
        generator="simulator",
        split="train",
        seed=0,
        document_ids=(),
        segments=tuple(Segment(user=text) for text in segments),
        fingerprint="f",
    )
    fields = {
        "question_id": "q-1",
        "context_id": "ctx-1",
        "question_type": "latest",
        "family": "knowledge_update",
        "text": "Where does Mira live?",
        "answer": "Oslo",
        "generator": "simulator",
        "fingerprint": "f",
    }
    asked = Question(**(fields | question))
    found = Evidence(
        question_id="q-1", indices=indices, votes=(1,) * len(indices), generator="simulator", fingerprint="f"
    )
    return Draft(context=context, questions=(asked,), evidence=(found,))


def test_a_good_question_becomes_an_episode() -> None:
    checked = verify(draft(), set())
    (verdict,), (episode,) = checked.verdicts, checked.episodes
    assert (verdict.check_name, verdict.passed, verdict.reason) == ("all", True, "")
    assert (episode.evidence, episode.segments, episode.answer) == ((0,), 3, "Oslo")


BAD = [
    ("structure", draft(text=" ")),
    ("structure", draft(answer="")),
    ("structure", draft(segments=("Mira lives in Oslo.", " "))),
    ("structure", draft(question_type="unheard_of")),
    ("structure", draft(question_id="q-2")),
    ("structure", draft(context_id="ctx-2")),
    ("evidence_in_range", draft(indices=())),
    ("evidence_in_range", draft(indices=(3,))),
    ("evidence_in_range", draft(indices=(-1, 0))),
    ("evidence_in_range", draft(indices=(1, 0))),
    ("evidence_in_range", draft(indices=(0, 0))),
    ("evidence_in_range", draft(indices=(0, 1, 2))),
    ("lengths", draft(text="word " * 53)),
    ("lengths", draft(answer="word " * 61)),
    ("lengths", draft(segments=("Oslo " * 4001, "It rains."))),
    ("context_dependent", draft(text="Does Mira live in OSLO?")),
    ("grounded", draft(indices=(1,))),
    ("grounded", draft(answer="Os")),
]


@pytest.mark.parametrize(("check", "bad"), BAD)
def test_a_bad_question_is_rejected_by_its_check(check: str, bad: Draft) -> None:
    checked = verify(bad, set())
    verdict, last = checked.verdicts
    assert (verdict.check_name, verdict.passed) == (check, False)
    assert verdict.reason
    assert (last.check_name, last.passed, last.reason, last.episode_id) == ("all", False, check, "")
    assert checked.episodes == ()


def test_every_check_is_tested() -> None:
    assert {check for check, _ in BAD} == {name for name, check in CHECKS.items() if check.reads}


def test_a_repeated_question_is_a_duplicate_only_if_the_first_was_kept() -> None:
    seen: set[str] = set()
    verify(draft(indices=(1,)), seen)
    assert verify(draft(), seen).verdicts[0].passed
    verdict, _ = verify(draft(text="where does mira LIVE"), seen).verdicts
    assert verdict.check_name == "duplicate"


def test_of_questions_that_are_the_same_the_one_with_the_smallest_id_is_kept_in_any_order() -> None:
    one, other = draft(), draft(text="where does mira LIVE")
    questions = (*one.questions, other.questions[0].replace(question_id="q-0"))
    evidence = (*one.evidence, other.evidence[0].replace(question_id="q-0"))
    for order in (1, -1):
        mixed = one.replace(questions=questions[::order], evidence=evidence[::order])
        assert [episode.question_id for episode in verify(mixed, set()).episodes] == ["q-0"]


def test_the_last_word_names_the_episode_and_the_checks_that_let_it_pass() -> None:
    checked = verify(draft(), set())
    (verdict,), (episode,) = checked.verdicts, checked.episodes
    assert verdict.episode_id == episode.episode_id
    assert verdict.fingerprint == episode.fingerprint == fingerprint("f", "simulator")


def test_a_derived_answer_needs_no_grounding() -> None:
    assert verify(draft(question_type="count", answer="three"), set()).episodes

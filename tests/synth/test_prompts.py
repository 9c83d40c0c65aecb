"""Every prompt renders, and asks for the record that it fills."""

from __future__ import annotations

import json
from typing import Any

import jinja2
import pytest
from jsonschema import Draft202012Validator

from evoembedding.schemas.episode import Segment
from evoembedding.schemas.teacher import answer_schema
from evoembedding.synth.prompts import FOLDER, PROMPTS
from evoembedding.synth.prompts.answers import PlannedEvent, Turn
from evoembedding.synth.taxonomy import QUESTION_TYPES, RULES

SEGMENTS = (Segment(user="I moved to {{ 7 * 7 }} Lisbon.", assistant="Noted."), Segment(user="Now Porto <b>."))
VALUES: dict[str, dict[str, Any]] = {
    "plan": {"persona": "Ada, a baker", "count": 8, "before": (PlannedEvent(kind="new", what="Ada opens a shop."),)},
    "turns": {
        "persona": "Ada, a baker",
        "before": (Turn(user="Hi there.", assistant="Hello."),),
        "events": (PlannedEvent(kind="new", what="Ada opens a shop."),),
        "words": 46,
    },
    "statements": {"segments": SEGMENTS},
    "question": {"segments": SEGMENTS, "type": QUESTION_TYPES["latest"], "rules": RULES, "question_words": 52},
    "evidence": {"segments": SEGMENTS, "question": "Where now?", "answer": "Porto"},
    "answer": {"segments": SEGMENTS, "question": "Where now?"},
    "supported": {"segments": SEGMENTS, "question": "Where now?", "answer": "Porto"},
    "same_answer": {"question": "Where now?", "answer": "Porto", "other": "In Porto"},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "plan": {"events": [{"kind": "update", "what": "Ada moves."}]},
    "turns": {"turns": [{"user": "I moved.", "assistant": "Where to?"}]},
    "statements": {"statements": [{"kind": "fact", "text": "Ada lives in Porto."}]},
    "question": {"reasoning": "r", "question": "Where now?", "answer": "Porto"},
    "evidence": {"reasoning": "r", "segments": [1]},
    "answer": {"answer": "Porto"},
    "supported": {"reasoning": "r", "verdict": True},
    "same_answer": {"reasoning": "r", "verdict": False},
}


def test_every_file_is_a_prompt() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == set(PROMPTS) == set(VALUES) == set(ANSWERS)


@pytest.mark.parametrize("name", PROMPTS)
def test_renders_whole_and_as_it_is(name: str) -> None:
    system, user = PROMPTS[name].render(**VALUES[name])
    assert (system.role, user.role) == ("system", "user")
    assert "JSON" in system.content
    assert "{%" not in user.content
    for value in VALUES[name].values():
        if isinstance(value, str):
            assert value in user.content
    if "segments" in VALUES[name]:
        assert "I moved to {{ 7 * 7 }} Lisbon." in user.content  # a text is data, never a template
        assert "Now Porto <b>." in user.content


@pytest.mark.parametrize("name", PROMPTS)
def test_a_forgotten_variable_is_an_error(name: str) -> None:
    with pytest.raises(jinja2.UndefinedError):
        PROMPTS[name].render()


@pytest.mark.parametrize("name", PROMPTS)
def test_the_schema_asked_for_admits_the_record_and_no_other(name: str) -> None:
    prompt = PROMPTS[name]
    validator = Draft202012Validator(prompt.answer.model_json_schema())
    good = ANSWERS[name]
    assert validator.is_valid(good)
    filled = prompt.answer.model_validate_json(json.dumps(good))
    assert json.loads(filled.model_dump_json()) == good
    for field in good:
        lacking = {k: v for k, v in good.items() if k != field}
        assert not validator.is_valid(lacking)
    assert not validator.is_valid(good | {"more": 1})


@pytest.mark.parametrize("name", PROMPTS)
def test_the_schema_keeps_the_order_of_the_fields(name: str) -> None:
    """A model under structured output writes in the schema's order: reasoning before what it reasons about."""
    answer = PROMPTS[name].answer
    assert list(json.loads(answer_schema(answer))["properties"]) == list(answer.model_fields)
    assert next(iter(answer.model_fields)) == "reasoning" or "reasoning" not in answer.model_fields


@pytest.mark.parametrize("kind", QUESTION_TYPES)
def test_every_type_of_question_can_be_asked_for(kind: str) -> None:
    entry = QUESTION_TYPES[kind]
    _, user = PROMPTS["question"].render(**VALUES["question"] | {"type": entry})
    assert entry.instruction in user.content
    assert entry.example in user.content


def test_versions_differ_and_hold_text_and_schema() -> None:
    assert len({prompt.version for prompt in PROMPTS.values()}) == len(PROMPTS)
    assert PROMPTS["supported"]._replace(answer=PROMPTS["plan"].answer).version != PROMPTS["supported"].version


def test_the_answer_prompt_without_a_text_asks_what_is_known() -> None:
    _, user = PROMPTS["answer"].render(segments=(), question="Where now?")
    assert "The text" not in user.content
    assert "you do not know" in user.content

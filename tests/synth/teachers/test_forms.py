"""An answer out of what models write around it; and what is none stays none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from evoembedding.schemas.moments import now
from evoembedding.schemas.teacher import TeacherCall
from evoembedding.synth.prompts.answers import Judgement, Statements, Turns
from evoembedding.synth.teachers.forms import KEPT, MOST, fits, kept, read, wrong

VALUE = {"reasoning": "It holds {a} [1].", "verdict": True}
OTHER = {"reasoning": "It does not.", "verdict": False}
GOOD = json.dumps(VALUE)
TURNS = [{"user": f"Pier {n}?", "assistant": f"Pier {n}."} for n in range(2)]


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"```\r\n{GOOD}\r\n```",
        f"~~~JSON5\n{GOOD}\n~~~",
        f"````\n```json\n{GOOD}\n```\n````",
        f"```json\n{GOOD}",
        f"```python\nanswer = {GOOD}\n```",
        f"`{GOOD}`",
        f"<answer>\n{GOOD}\n</answer>",
        f"Sure {{as asked}} [note]:\n{GOOD}\nLet me know.",
        f"{GOOD}\n\n{GOOD}",
        f"{GOOD}<|im_end|>",
        f"\ufeff{GOOD}",
        f"```json\n\ufeff{GOOD}\n```",
        f'<think>maybe {{"verdict": false}}</think>{GOOD}',
        f'maybe {{"verdict": false}} </think>\n{GOOD}',
        f'<|channel|>final<|message|>{GOOD}',
    ],
)  # fmt: skip
def test_words_around_an_answer_are_taken_off(text: str) -> None:
    assert read(text, Judgement) == Judgement(**VALUE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        [VALUE],
        [[VALUE]],
        {"answer": VALUE},
        {"result": {"data": [VALUE]}},
        {"status": "ok", "n": 1, "output": VALUE},
        {"name": "answer", "arguments": VALUE},
        {"name": "answer", "arguments": GOOD},
        {"answer": f"```json\n{GOOD}\n```"},
        GOOD,
        VALUE | {"confidence": 0.9, "sources": [{"n": 1}]},
    ],
)
def test_a_wrapper_around_an_answer_is_taken_off(value: Any) -> None:
    text = json.dumps(value)
    for written in (text, f"Here it is:\n```json\n{text}\n```") if not isinstance(value, str) else (text,):
        assert read(written, Judgement) == Judgement(**VALUE)  # type: ignore[arg-type]


def test_an_object_of_another_form_beside_the_answer_is_none() -> None:
    schema = json.dumps(Judgement.model_json_schema())
    for text in (f"{schema}\n{GOOD}", f"{{}}\n{GOOD}", f'{GOOD} and {{"b": 2}}'):
        assert read(text, Judgement).verdict is True


def test_line_ends_inside_of_a_string_are_read() -> None:
    assert read(GOOD.replace("It holds", "It\nholds\t"), Judgement).reasoning == "It\nholds\t {a} [1]."


def test_a_bare_list_fills_a_form_of_one_list() -> None:
    for text in (json.dumps(TURNS), f"```json\n{json.dumps(TURNS)}\n```", json.dumps({"dialogue": TURNS})):
        assert [turn.model_dump() for turn in read(text, Turns).turns] == TURNS
    assert read('{"statements": []}', Statements).statements == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON object"),
        ("null", "no JSON object"),
        ("It holds.", "no JSON object"),
        (GOOD[:-9], "EOF while parsing"),
        (f"```json\n{GOOD[:-9]}\n```", "no JSON object"),
        (GOOD + GOOD[:-9], "no JSON object|trailing characters"),
        (json.dumps(VALUE) + json.dumps(OTHER), "2 JSON objects"),
        (json.dumps([VALUE, OTHER]), "2 JSON objects"),
        (json.dumps({"draft": VALUE, "final": OTHER}), "reasoning: Field required"),
        (json.dumps({"a": {"b": {"c": {"d": {"e": VALUE}}}}}), "reasoning: Field required"),
        (f"<think>{GOOD}", "thoughts did not end"),
        (GOOD.replace("true", "2"), "verdict: Input should be a valid boolean"),
        (GOOD.replace("It holds", "a\\u0000b"), "NUL"),
        (GOOD.replace("It holds", "a\\ud83db"), "half of a surrogate pair"),
        ('{"a":' * 100_000, "nested too deep"),
        ("[" * 100_000, "no JSON object"),
        ('{"a": 1}' * (MOST + 1) + GOOD, "JSON objects"),
    ],
)
def test_what_is_no_answer_is_told_in_few_words(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        read(text, Judgement)
    assert len(str(raised.value)) < 200
    assert not fits(text, Judgement)


def test_half_a_list_of_turns_is_no_answer() -> None:
    assert not fits(json.dumps(TURNS)[:-20], Turns)


def test_numbers_that_no_table_keeps_are_refused() -> None:
    class Numbered(BaseModel):
        number: int

    for number in ("2147483648", "-2147483648", "9" * 5000, "NaN"):
        assert not fits(f'{{"number": {number}}}', Numbered)
    assert read('{"number": 2147483647}', Numbered).number == 2**31 - 1


def call(content: str, finish: str = "stop") -> TeacherCall:
    words = dict.fromkeys(("call_id", "scope", "stage", "item", "teacher", "model", "endpoint"), "x")
    numbers = {"prompt_tokens": 1, "completion_tokens": 1, "seconds": 0.1, "cost": 0.0}
    return TeacherCall(**words, **numbers, finish_reason=finish, valid=False, content=content, created_at=now())  # type: ignore[arg-type]


def test_what_is_wrong_is_a_function_of_what_was_kept() -> None:
    assert wrong(call(" \n"), Judgement) == "it was empty"
    assert "token limit" in wrong(call(GOOD[:-9], "length"), Judgement)
    assert wrong(call("no"), Judgement) == "it holds no JSON object"
    assert wrong(call(GOOD), Judgement) == "it held characters that no text can hold"
    # Kept as malformed by code that took no wrapper off: the words of its repair are what they were.
    assert wrong(call(json.dumps({"answer": VALUE})), Judgement) == "reasoning: Field required"


def test_what_is_kept_is_bounded_and_can_be_kept() -> None:
    assert kept("a\0b\ud83d") == "a\ufffdb\ufffd"
    assert len(kept("x" * (KEPT + 9))) == KEPT

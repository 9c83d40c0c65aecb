"""An answer of a given form, out of the text that a model wrote: thoughts, fences, words and wrappers around it are
taken off.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evoembedding.schemas.teacher import TeacherCall
from evoembedding.schemas.text import BOM, clean, mended
from evoembedding.synth.teachers.completion import load

A = TypeVar("A", bound=BaseModel)

KEPT = 2**20  # characters of an answer
WRAPPED = 4  # objects, lists and strings around an answer, one in another
MOST = 64  # objects in one text of which each may be the answer
LARGEST = 2**31  # no answer holds a larger number: tables keep 64 bits
_THOUGHT = re.compile(r"\s*(?:<(?:think|thinking|thought|reasoning)>|\[THINK\])", re.I)
_THOUGHT_ENDS = re.compile(r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]", re.I)
_OBJECT = re.compile(r'\{\s*["}]')
_LIST_OR_OBJECT = re.compile(r'\{\s*["}]|\[\s*[\[{]')
_HOLDS = ("{", "[", "```")  # how a string begins that holds JSON
_DECODERS = {strict: json.JSONDecoder(strict=strict) for strict in (True, False)}


def kept(text: str) -> str:
    """An answer as the ledger keeps it."""
    return mended(text[:KEPT])


def read(text: str, form: type[A]) -> A:
    """The answer that a text holds, its strings made clean. Fields that were not asked for are left out.

    Raises:
        ValueError: it holds none, or more than one, or one of another form; in words for whoever wrote it.
    """
    try:
        return _read(text, form)
    except ValueError:
        found = [answer for value in _candidates(text) for answer in _within(value, form, WRAPPED)]
        if not found or any(answer != found[0] for answer in found[1:]):
            raise
        return found[0]


def fits(text: str, form: type[BaseModel]) -> bool:
    """Whether `read` reads it."""
    try:
        read(text, form)
    except ValueError:
        return False
    return True


def wrong(call: TeacherCall, form: type[BaseModel]) -> str:
    """What is wrong with a malformed answer, in few words. A function of what the ledger keeps: the words stay what
    they are, also for an answer that would be taken today, since the repair's id holds them.
    """
    if not call.content.strip():
        return "it was empty"
    if call.finish_reason == "length":
        return "it was cut off at the token limit; be shorter"
    try:
        _read(call.content, form)
    except ValueError as error:
        return str(error)[:200]
    return "it held characters that no text can hold"  # they were not kept


def _read(text: str, form: type[A]) -> A:
    """As `read`, of an object that is the answer itself."""
    try:
        try:
            value = _object(text)
        except json.JSONDecodeError:
            form.model_validate_json(text)  # says it in fewer words
            raise
        return _of_form(value, form)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValidationError as error:
        raise ValueError(_few_words(error)) from None


def _of_form(value: Any, form: type[A]) -> A:
    return form.model_validate_json(json.dumps(_cleaned(value)), extra="ignore")


def _candidates(text: str) -> list[Any]:
    """What may be an answer or hold one: the JSON of a text, after its thoughts."""
    text = text.strip().removeprefix(BOM).lstrip()
    if _THOUGHT.match(text) and not _THOUGHT_ENDS.search(text):
        return []
    text = _after_thoughts(text).lstrip()
    if not text.startswith('"'):
        found = _found(text, _LIST_OR_OBJECT, strict=False)
        return found if len(found) <= MOST else []
    try:
        return [load(text)]  # the whole of it as a string
    except ValueError:
        return []


def _within(value: Any, form: type[A], deepest: int) -> list[A]:
    """The answers in a value that is one, or the list that it is to hold; or that holds one thing and short values."""
    fields = list(form.model_fields)
    whole = {fields[0]: value} if isinstance(value, list) and len(fields) == 1 else value
    if isinstance(whole, dict):
        try:
            return [_of_form(whole, form)]
        except (ValueError, RecursionError):
            pass
    if isinstance(value, str):
        inner = _candidates(value)
    else:
        inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        inner = [one for one in inside if isinstance(one, dict | list) or _holds(one)]
        if len(inner) > 1:
            return []
    return [answer for one in inner for answer in _within(one, form, deepest - 1)] if deepest else []


def _holds(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(_HOLDS)


def _after_thoughts(text: str) -> str:
    return text[max((end.end() for end in _THOUGHT_ENDS.finditer(text)), default=0) :]


def _object(text: str) -> Any:
    text = text.strip().removeprefix(BOM).lstrip()
    if text.startswith("{"):
        try:
            return load(text)
        except ValueError as error:
            whole = error
    elif _THOUGHT.match(text) and not _THOUGHT_ENDS.search(text):
        raise ValueError("its thoughts did not end")
    else:
        whole = ValueError("it holds no JSON object")
    found = _found(_after_thoughts(text), _OBJECT)
    if not found:
        raise whole
    if any(one != found[0] for one in found[1:]):
        raise ValueError(f"it holds {len(found)} JSON objects")
    return found[0]


def _found(text: str, begins: re.Pattern[str], strict: bool = True) -> list[Any]:
    """The JSON among other words. What begins like such has to be such: half an object is no answer."""
    found: list[Any] = []
    place = 0
    while begin := begins.search(text, place):
        try:
            _, place = _DECODERS[strict].raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            return []
        found.append(load(text[begin.start() : place], strict))
    return found


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(one) for key, one in value.items()}
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise ValueError(f"it holds a number beyond {LARGEST}")
    return value


def _few_words(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])

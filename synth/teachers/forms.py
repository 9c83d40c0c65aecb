"""An answer of a given form, out of the text that a model wrote: thoughts, fences and words around it are taken off."""

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
LARGEST = 2**31  # no answer holds a larger number: tables keep 64 bits
_THOUGHT = re.compile(r"\s*(?:<(?:think|thinking|thought|reasoning)>|\[THINK\])", re.I)
_THOUGHT_ENDS = re.compile(r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]", re.I)
_OBJECT = re.compile(r'\{\s*["}]')
_DECODER = json.JSONDecoder()


def kept(text: str) -> str:
    """An answer as the ledger keeps it."""
    return mended(text[:KEPT])


def read(text: str, form: type[A]) -> A:
    """The answer that a text holds, its strings made clean. Fields that were not asked for are left out.

    Raises:
        ValueError: it holds none, or more than one, or one of another form; in words for whoever wrote it.
    """
    try:
        try:
            value = _object(text)
        except json.JSONDecodeError:
            form.model_validate_json(text)  # says it in fewer words
            raise
        return form.model_validate_json(json.dumps(_cleaned(value)), extra="ignore")
    except ValidationError as error:
        raise ValueError(_few_words(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def fits(text: str, form: type[BaseModel]) -> bool:
    """Whether `read` reads it."""
    try:
        read(text, form)
    except ValueError:
        return False
    return True


def wrong(call: TeacherCall, form: type[BaseModel]) -> str:
    """What is wrong with a malformed answer, in few words. A function of what the ledger keeps."""
    if not call.content.strip():
        return "it was empty"
    if call.finish_reason == "length":
        return "it was cut off at the token limit; be shorter"
    try:
        read(call.content, form)
    except ValueError as error:
        return str(error)[:200]
    return "it held characters that no text can hold"  # they were not kept


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
    found = _objects(text[max((end.end() for end in _THOUGHT_ENDS.finditer(text)), default=0) :])
    if not found:
        raise whole
    if any(one != found[0] for one in found[1:]):
        raise ValueError(f"it holds {len(found)} JSON objects")
    return found[0]


def _objects(text: str) -> list[Any]:
    """The JSON objects among other words. What begins like one has to be one: half an object is no answer."""
    found: list[Any] = []
    place = 0
    while begin := _OBJECT.search(text, place):
        try:
            _, place = _DECODER.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            return []
        found.append(load(text[begin.start() : place]))
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

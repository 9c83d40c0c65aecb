"""A chat completion, read from whatever a server sent: the texts that may be the answer, and plausible numbers."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from evoembedding.synth.teachers.call import Reply
from evoembedding.synth.teachers.faults import unreadable

MOST_VALUES = 1_000_000  # of a JSON text: `[[],[],` takes 20 times its size in memory
MOST_DIGITS = 19  # 64 bits
REASON = 32  # characters of a finish reason


class Completion(NamedTuple):
    """`texts` are where an answer may stand, the usual place first. Tokens are None where they are not told."""

    texts: tuple[str, ...]
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    size: int  # bytes of the whole reply


class ReplyError(Exception):
    """A server's error inside a reply that says all is well."""

    def __init__(self, body: dict[str, Any], status: int) -> None:
        super().__init__(status)
        self.body, self.status = body, status


def load(text: str, strict: bool = True) -> Any:
    """JSON of a bounded depth and number of values. Numbers beyond 64 bits are None. Not `strict`, strings may hold
    control characters as they are.

    Raises:
        ValueError: it is not.
    """
    if text.count(",") + text.count("[") + text.count("{") > MOST_VALUES:
        raise ValueError(f"it holds over {MOST_VALUES} values")
    try:
        return json.loads(text, strict=strict, parse_int=_whole, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= MOST_DIGITS else None


def body(reply: Reply) -> Any:
    """The JSON of a reply. What is no UTF-8 becomes half pairs, which no answer may hold.

    Raises:
        FaultError: it is none.
    """
    if reply.headers.get("content-type", "").startswith("text/event-stream"):
        raise unreadable("streamed answer")
    try:
        return load(reply.body.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
    except ValueError as error:
        raise unreadable("answer " + str(error)[3:] if str(error).startswith("it ") else "malformed response") from None


def completion(reply: Reply) -> Completion:
    """What a server answered.

    Raises:
        ReplyError: it answered with an error.
        FaultError: the reply is no chat completion.
    """
    answer = body(reply)
    if not isinstance(answer, dict):
        raise unreadable("malformed response")
    if answer.get("error") and not answer.get("choices"):
        raise ReplyError(answer, _status(answer["error"]))
    choice = _first(answer.get("choices"))
    message = choice.get("message")
    if not isinstance(message, dict):
        raise unreadable("malformed response")
    usage = answer.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    reason = choice.get("finish_reason")
    return Completion(
        texts=tuple(text for text in _texts(message) if text.strip()) or ("",),
        finish_reason=reason[:REASON] if isinstance(reason, str) else "",
        prompt_tokens=_count(counted.get("prompt_tokens")),
        completion_tokens=_count(counted.get("completion_tokens")),
        size=len(reply.body),
    )


def _first(choices: Any) -> dict[str, Any]:
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    raise unreadable("malformed response")


def _texts(message: dict[str, Any]) -> list[str]:
    """The content; else the arguments of a tool call; else what servers with a reasoning parser take for reasoning."""
    calls = message.get("tool_calls")
    called = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    called = [*called, message.get("function_call")]
    arguments = [one.get("arguments") for one in called if isinstance(one, dict)]
    places = [message.get("content"), *arguments, message.get("reasoning_content"), message.get("reasoning")]
    return [_text(value) for value in places]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):  # the answer itself, where a text of it should stand
        return json.dumps(value)
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value if not _thought(part)]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def _thought(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") not in (None, "text", "output_text")


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _status(error: Any) -> int:
    code = error.get("code") if isinstance(error, dict) else None
    digits = str(code) if isinstance(code, int | str) else ""
    return int(digits) if len(digits) == 3 and digits.isascii() and digits.isdigit() else 0

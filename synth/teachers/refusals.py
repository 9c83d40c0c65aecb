"""What a status other than success means: for the request, for the endpoint, or for the whole run."""

from __future__ import annotations

import json
import math
import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2

from evoembedding.schemas.secrets import Scrubber
from evoembedding.schemas.text import shown
from evoembedding.synth.teachers.call import Reply
from evoembedding.synth.teachers.completion import ReplyError
from evoembedding.synth.teachers.faults import FaultError, RefusedError, RunRefusedError

BUSY = (429, 503, 529)
GATEWAY = (502, 504, 520, 521, 522, 523, 524, 530)  # a router whose server is gone
AGAIN = (408, 409, 425)
WORDS = 300  # characters of a server's words
PAUSE_S = 1.0  # where a busy server does not say
MOMENT = 1e9  # seconds: more than this are no wait, but a moment since 1970
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SPAN = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h))+")
_PART = re.compile(r"([\d.]+)(ms|s|m|h)")
_DELAY = re.compile(r'"retryDelay"\s*:\s*"([^"]{1,30})"')
# About this request alone: too long, or of a content that the server does not want.
_ALONE = re.compile(
    r"context.{0,9}length|context.{0,3}window|maximum.{0,9}length|too (?:long|large|many tokens)|must have less than"
    r"|reduce the length|content.{0,3}(?:filter|policy|management)|moderation|flagged|safety",
    re.I,
)
# About something that every request has, or about the account.
_PAYMENT = re.compile(r"insufficient.{0,3}(?:quota|balance|funds|credit)|exceeded your current quota|billing", re.I)
_PARAMETER = re.compile(
    r"max.{0,3}tokens|max.completion|response.format|json.schema|structured.output|guided|temperature|top_p|\bseed\b"
    r"|unsupported|unknown.parameter|unrecognized|extra.(?:inputs?|forbidden|fields?)|invalid.model|model.{0,20}not",
    re.I,
)


def judge(reply: Reply, scrub: Scrubber) -> None:
    """Nothing of a success.

    Raises:
        FaultError: it may pass.
        RefusedError: this request will not be answered; as RunRefusedError: none will.
    """
    if 200 <= reply.status < 300:
        return
    if 300 <= reply.status < 400:
        raise RefusedError(reply.status, _elsewhere(reply.headers.get("location", ""), scrub), alone=False)
    text = reply.body.decode("utf-8", "replace")
    _judge(reply.status, text, reply.headers, scrub)


def judge_reply(error: ReplyError, scrub: Scrubber) -> FaultError:
    """The same of an error in a reply that says all is well: a call, and not one to be asked for without end.

    Raises:
        FaultError: it is busy.
        RefusedError: this request will not be answered; as RunRefusedError: none will.
    """
    text = json.dumps(error.body)
    status = 402 if error.status < 400 and _PAYMENT.search(text) else error.status
    if 400 <= status < 500 or status in BUSY:
        _judge(status, text, httpx2.Headers(), scrub)
    return FaultError("failed", "error in the answer", "call", detail=words(text, scrub), useless=True)


def _judge(status: int, text: str, headers: httpx2.Headers, scrub: Scrubber) -> None:
    message = words(text, scrub)
    # The order matters: a bill may come as 429, and who refuses a long text may name max_tokens in the same words.
    if status == 402 or (status in (400, 403, 422, 429) and _PAYMENT.search(text) and not _later(text, headers)):
        raise RunRefusedError(status, message, alone=False)
    if status == 413 or (status in (400, 403, 422) and _ALONE.search(text)):
        raise RefusedError(status, message, alone=True)
    if status in (401, 403, 404, 405):
        raise RunRefusedError(status, message, alone=False)
    if status in BUSY:
        raise FaultError("busy", str(status), "nothing", pause(headers, text), detail=message)
    if status in GATEWAY:
        raise FaultError("unreachable", str(status), "call", detail=message)
    if status in (400, 422) and _PARAMETER.search(text):
        raise RunRefusedError(status, message, alone=False)
    if 400 <= status < 500 and status not in AGAIN:
        raise RefusedError(status, message, alone=False)
    raise FaultError("failed", str(status), "call", detail=message)


def _later(text: str, headers: httpx2.Headers) -> bool:
    """Whether a server says when to come again: a quota by the minute is no unpaid bill."""
    return "retry-after" in headers or "retry-after-ms" in headers or "retryDelay" in text


def pause(headers: httpx2.Headers, text: str = "") -> float:
    """Seconds that a busy server asks to wait: `retry-after-ms`, or `Retry-After` in seconds, as a span or as a moment,
    or the `retryDelay` of its words. None is negative.
    """
    # By the server's clock where it tells it: ours may be another.
    clock = _moment(headers.get("date", ""))
    now = time.time() if clock is None else clock
    delay = _DELAY.search(text)
    ways = (
        _number(headers.get("retry-after-ms", ""), now, 1000),
        _number(headers.get("retry-after", ""), now),
        _span(headers.get("retry-after", "")),
        _until(headers.get("retry-after", ""), now),
        _span(delay[1]) if delay else None,
    )
    return max(0.0, next((wait for wait in ways if wait is not None), PAUSE_S))


def words(text: str, scrub: Scrubber) -> str:
    """A server's words, on one line, without secrets and without anything that acts on a screen."""
    try:
        found = _message(json.loads(text))
    except (ValueError, RecursionError):
        found = ""
    plain = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", found or text, flags=re.I | re.S)
    return shown(" ".join(scrub(plain).split()), WORDS) or "no reason given"


def _message(body: Any) -> str:
    """The sentence in an error's body; its forms differ."""
    for name in ("error", "message", "detail", "msg", "type"):
        value = body.get(name) if isinstance(body, dict) else None
        if isinstance(value, dict | list) and (inner := _message(value)):
            return inner
        if isinstance(value, str) and value:
            return value
    return _message(body[0]) if isinstance(body, list) and body else ""


def _elsewhere(location: str, scrub: Scrubber) -> str:
    """Where a redirect points to: its origin alone, since an address may hold more than it should."""
    try:
        parts = urlsplit(location)
        origin = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}" if parts.hostname else ""
    except ValueError:
        origin = ""
    where = f"to {shown(scrub(origin), 100)}" if origin else "to another place there"
    return f"it redirects {where}, and nothing was sent on: name the address that is meant"


def _number(text: str, now: float, unit: int = 1) -> float | None:
    """Seconds of a number, `unit` to the second; or until it, where it is a moment in seconds or milliseconds. Of a
    header sent twice, the longer wait.
    """
    try:
        value = max(map(float, text.split(",")))
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    seconds = value / unit / (1000 if value > 1000 * MOMENT * unit else 1)
    return seconds - now if seconds > MOMENT else seconds


def _span(text: str) -> float | None:
    """Seconds of `90s`, `1m30s` or `500ms`."""
    if not _SPAN.fullmatch(compact := text.replace(" ", "").lower()):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(compact))


def _until(text: str, now: float) -> float | None:
    until = _moment(text)
    return None if until is None else until - now


def _moment(text: str) -> float | None:
    """A date as mail and HTTP write it, or as ISO 8601 does; one that names no zone is in UTC."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            found = read(text.strip())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None

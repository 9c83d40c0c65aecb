"""What a status other than success means: for the request, for the endpoint, or for the whole run."""

from __future__ import annotations

import json
import math
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2

from evoembedding.schemas.secrets import Scrubber
from evoembedding.schemas.text import shown
from evoembedding.synth.teachers.call import Reply
from evoembedding.synth.teachers.completion import ToldError
from evoembedding.synth.teachers.faults import FaultError, RefusedError, RunRefusedError

BUSY = (429, 503, 529)
GATEWAY = (502, 504, 520, 521, 522, 523, 524, 530)  # a router whose server is gone
AGAIN = (408, 409, 425)
WORDS = 300  # characters of a server's words
PAUSE_S = 1.0  # where a busy server does not say
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
    told = reply.body.decode("utf-8", "replace")
    _judge(reply.status, told, reply.headers, scrub)


def judge_told(error: ToldError, scrub: Scrubber) -> FaultError:
    """The same of an error in a reply that says all is well: a call, and not one to be asked for without end.

    Raises:
        FaultError: it is busy.
        RefusedError: this request will not be answered; as RunRefusedError: none will.
    """
    told = json.dumps(error.body)
    if error.status in (401, 402, 403, 404, *BUSY) or _PAYMENT.search(told):
        _judge(error.status, told, httpx2.Headers(), scrub)
    return FaultError("failed", "error in the answer", "call", told=words(told, scrub), useless=True)


def _judge(status: int, told: str, headers: httpx2.Headers, scrub: Scrubber) -> None:
    said = words(told, scrub)
    if status == 402 or (status in (400, 403, 422, 429) and _PAYMENT.search(told) and not _later(told, headers)):
        raise RunRefusedError(status, said, alone=False)
    if status == 413 or (status in (400, 403, 422) and _ALONE.search(told)):
        raise RefusedError(status, said, alone=True)
    if status in (401, 403, 404, 405):
        raise RunRefusedError(status, said, alone=False)
    if status in BUSY:
        raise FaultError("busy", str(status), "nothing", pause(headers), told=said)
    if status in GATEWAY:
        raise FaultError("unreachable", str(status), "call", told=said)
    if status in (400, 422) and _PARAMETER.search(told):
        raise RunRefusedError(status, said, alone=False)
    if 400 <= status < 500 and status not in AGAIN:
        raise RefusedError(status, said, alone=False)
    raise FaultError("failed", str(status), "call", told=said)


def _later(told: str, headers: httpx2.Headers) -> bool:
    """Whether a server says when to come again: a quota by the minute is no unpaid bill."""
    return "retry-after" in headers or "retry-after-ms" in headers or "retryDelay" in told


def pause(headers: httpx2.Headers) -> float:
    """Seconds that a busy server asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date."""
    if (wait := _number(headers.get("retry-after-ms", ""))) is not None:
        return wait / 1000
    told = headers.get("retry-after", "")
    if (wait := _number(told)) is not None:
        return wait
    if (until := _moment(told)) is None:
        return PAUSE_S
    # By the server's clock where it tells it: ours may be another.
    now = _moment(headers.get("date", ""))
    return max(0.0, until - (time.time() if now is None else now))


def words(told: str, scrub: Scrubber) -> str:
    """A server's words, on one line, without secrets and without anything that acts on a screen."""
    try:
        found = _message(json.loads(told))
    except (ValueError, RecursionError):
        found = ""
    plain = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", found or told, flags=re.I | re.S)
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


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None

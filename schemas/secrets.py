"""Known secrets, and text without them: for words that come from outside, and for what is told."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "[secret]"
SHORTEST = 8  # characters: shorter values are found in ordinary text
_NAMES = re.compile(r"(API_?KEY|ACCESS_KEY(_ID)?|SECRET(_KEY)?|TOKEN|PASSWORD)$", re.I)
_URLS = re.compile(r"^((ALL|HTTPS?)_PROXY|MLFLOW_TRACKING_URI)$", re.I)  # may hold a password
_WORD = re.compile(r"[a-z-]{1,15}|[A-Z-]{1,15}|(.)\1*")  # 'not-needed', 'changeme', 'xxxxxxxx': no secrets
_ESCAPE = re.compile(r'\\(?:u00([0-7][0-9a-fA-F])|(["\\/]))')


class Scrubber:
    """Takes secrets out of text: as they are, and URL-encoded, JSON- or HTML-escaped, in Base64 or in hex."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._plain = sorted({s for s in secrets if _tells(s)}, key=len, reverse=True)
        self._coded = sorted({form for s in self._plain for form in _coded(s)}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text with `[secret]` in the place of each."""
        if not self._plain:
            return text
        for form in (*self._plain, *self._coded):
            if form in text:
                text = text.replace(form, HIDDEN)
        for sign, decode in _DECODERS:
            if sign in text and any(secret in (decoded := decode(text)) for secret in self._plain):
                text = self(decoded)
        return text


def of_environment(*names: str) -> Scrubber:
    """For the values of these variables and of all whose names say that they hold a secret (`HF_TOKEN`, `PGPASSWORD`,
    `AWS_SECRET_ACCESS_KEY`), and for the passwords in URLs of proxies and of MLflow.
    """
    found = [value for name, value in os.environ.items() if name in names or _NAMES.search(name)]
    return Scrubber([*found, *(p for n, v in os.environ.items() if _URLS.match(n) and (p := _password(v)))])


def scrubbed(text: str) -> str:
    """The text without the environment's secrets."""
    return of_environment()(text)


def _tells(value: str) -> bool:
    return len(value) >= SHORTEST and not _WORD.fullmatch(value)


def _password(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""


def _coded(secret: str) -> set[str]:
    raw = secret.encode("utf-8", "surrogateescape")
    quoted = quote(secret, safe="", errors="replace")
    found = {quoted, re.sub(r"%..", lambda m: m[0].lower(), quoted), raw.hex(), raw.hex().upper()}
    found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], html.escape(secret)}
    for before in range(3):  # what stands before it moves it by 0, 2 or 4 bits
        encoded = base64.b64encode(bytes(before) + raw).decode()
        core = encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]  # the characters that it alone decides
        found |= {core, core.replace("+", "-").replace("/", "_")}
    return found - {secret}


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2], text)


_DECODERS: tuple[tuple[str, Callable[[str], str]], ...] = (("\\", _unescape), ("%", unquote), ("&", html.unescape))

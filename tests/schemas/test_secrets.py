"""No form of a known secret stays in a text, and ordinary text stays."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoembedding.schemas.secrets import HIDDEN, SHORTEST, Scrubber, of_environment, scrubbed

KEY = 'sk-h0stile/+&%9Zq7Xw2"T'
FORMS = {
    "plain": KEY,
    "url": quote(KEY, safe=""),
    "url, lower case": quote(KEY, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    "url, all of it": "".join(f"%{ord(c):02X}" for c in KEY),
    "json": json.dumps(KEY)[1:-1],
    "json, all of it": "".join(f"\\u{ord(c):04x}" for c in KEY),
    "json, slashes": KEY.replace('"', '\\"').replace("/", "\\/"),
    "html": html.escape(KEY),
    "html, numbers": "".join(f"&#{ord(c)};" for c in KEY),
    "hex": KEY.encode().hex(),
    "HEX": KEY.encode().hex().upper(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found(form: str) -> None:
    assert Scrubber([KEY])(f"Bearer {FORMS[form]}, twice {FORMS[form]}.") == f"Bearer {HIDDEN}, twice {HIDDEN}."


@pytest.mark.parametrize("before", range(6))
def test_base64_is_found_wherever_it_begins(before: int) -> None:
    raw = b"user:pass:"[:before] + KEY.encode() + b":and more"
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        left = Scrubber([KEY])(encode(raw).decode())
        assert HIDDEN in left
        assert len(left) < len(encode(raw)) - 20


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Scrubber(["abcd1234", "abcd1234efgh5678"])("x abcd1234efgh5678 y abcd1234") == f"x {HIDDEN} y {HIDDEN}"


@pytest.mark.parametrize("word", ["", "x", "a1b2c3d", "not-needed", "changeme", "NONE-AT-ALL", "xxxxxxxxxxxxxxxx"])
def test_what_is_no_secret_is_left(word: str) -> None:
    text = f"the word {word} stays"
    assert Scrubber([word])(text) == text


def test_secrets_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    value = "aB3dE5gH7"
    named = (
        "OPENAI_API_KEY",
        "MY_APIKEY",
        "HF_TOKEN",
        "PGPASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "CLIENT_SECRET",
        "x_token",
    )
    for number, name in enumerate(named):
        monkeypatch.setenv(name, f"{value}{number}")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:p%40ss-W0rd9@proxy.example:3128")
    monkeypatch.setenv("all_proxy", "http://[::1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:0f-MLfl0w@mlflow.example")
    monkeypatch.setenv("ORDINARY", f"{value}-ordinary")
    for number in range(len(named)):
        assert scrubbed(f"<{value}{number}>") == f"<{HIDDEN}>"
    assert scrubbed("via p@ss-W0rd9, 0f-MLfl0w") == f"via {HIDDEN}, {HIDDEN}"
    assert scrubbed(f"{value}-ordinary") == f"{value}-ordinary"
    assert of_environment("ORDINARY")(f"{value}-ordinary") == HIDDEN


@given(st.text(st.characters(codec="utf-8"), min_size=SHORTEST), st.text(), st.text())
def test_no_secret_of_any_text_survives(secret: str, before: str, after: str) -> None:
    scrub = Scrubber([secret + "0a-Z"])
    assert secret + "0a-Z" not in scrub(f"{before}{secret}0a-Z{after}")

"""The way to an endpoint: which proxy is taken, and keys and proxies that cannot be used."""

from __future__ import annotations

import os

import pytest

from evoembedding.schemas.errors import EvoError
from evoembedding.synth.teachers.route import _proxy, endpoint

AWAY, SECURE = "http://teacher.example/v1", "https://teacher.example:8443/v1"
KEY_ENV = "TEACHER_KEY_OF_A_TEST"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def opened(url: str) -> None:
    endpoint(url, KEY_ENV, 5.0, 2)


@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_a_proxy_is_for_its_scheme(monkeypatch: pytest.MonkeyPatch, case: type) -> None:
    monkeypatch.setenv(case("http_proxy"), "http://plain.example:3128")
    assert _proxy(AWAY) == "http://plain.example:3128"
    assert _proxy(SECURE) is None
    monkeypatch.setenv(case("https_proxy"), "secure.example:3128")  # without a scheme, as curl takes it
    assert _proxy(SECURE) == "http://secure.example:3128"
    monkeypatch.setenv(case("all_proxy"), "socks5://socks.example:1080")
    assert _proxy(AWAY) == "http://plain.example:3128"
    monkeypatch.delenv(case("http_proxy"))
    assert _proxy(AWAY) == "socks5://socks.example:1080"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "[::1]", "localhost", "a.localhost", "0.0.0.0", "LOCALHOST"]
)  # fmt: skip
def test_there_is_none_on_the_way_to_this_machine(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    for scheme in ("http", "https"):
        assert _proxy(f"{scheme}://{host}:8000/v1") is None


@pytest.mark.parametrize("exempt", ["teacher.example", ".example", "other.example, teacher.example", "*"])
def test_no_proxy_is_heard(monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")
    assert _proxy(AWAY) is not None
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, exempt)
        assert _proxy(AWAY) is None
        assert _proxy(SECURE) is None
        monkeypatch.delenv(name)


@pytest.mark.parametrize("proxy", ["ftp://proxy.example", "http://proxy.example:port", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_one_sentence(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(EvoError, match=r"proxy whose address cannot be used; no teacher was asked; mend HTTP_PROXY"):
        opened(AWAY)
    opened("http://127.0.0.1:1/v1")


def test_a_socks_proxy_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5h://proxy.example:1080")
    try:
        import socksio  # noqa: F401
    except ImportError:
        with pytest.raises(EvoError, match="SOCKS proxy, which needs the package socksio"):
            opened(AWAY)
    else:
        opened(AWAY)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("abc\r", r"U\+000D at its end"),
        ("abc\n", r"U\+000A at its end"),
        ("abc ", r"U\+0020 at its end"),
        (" abc", r"U\+0020 as character 1 of 4"),
        ("a\tc", r"U\+0009 as character 2 of 3"),
        ("sk-abc\u2019", r"U\+2019 at its end"),
        ("\ufeffabc", r"U\+FEFF as character 1 of 4"),
        ("a\udce9c", r"U\+DCE9 as character 2 of 3"),
    ],
)
def test_a_key_that_no_header_can_carry(monkeypatch: pytest.MonkeyPatch, key: str, says: str) -> None:
    monkeypatch.setenv(KEY_ENV, key)
    with pytest.raises(EvoError, match=says) as raised:
        opened(AWAY)
    assert key not in str(raised.value)
    assert KEY_ENV in str(raised.value)

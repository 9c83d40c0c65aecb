"""Text from outside: clean, and harmless on a screen."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoembedding.schemas.text import clean, shown


def test_mark_and_line_ends_do_not_make_another_text() -> None:
    assert clean("\ufeff# Harbour\r\nlog\rend") == clean("# Harbour\nlog\nend") == "# Harbour\nlog\nend"


@pytest.mark.parametrize(("text", "told"), [("a\0b", "NUL"), ("a\ud83d", r"U\+D83D, at character 2")])
def test_what_nothing_keeps_is_refused_and_named(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        clean(text)


def test_a_screen_shows_what_would_act_on_it() -> None:
    assert shown("\x1b[31mred\u202egnp.exe\ud83d\x9b") == "\\x1b[31mred\\u202egnp.exe\\ud83d\\x9b"
    assert shown("a\r\nb\tc") == "a\\x0d\nb\tc"
    assert shown("[bold]naïve 東京 می‌خواهم") == "[bold]naïve 東京 می‌خواهم"
    assert shown("x" * 90, most=80) == "x" * 79 + "…"


@given(st.text(st.characters()))
def test_nothing_shown_acts(text: str) -> None:
    line = shown(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in line if c not in "\n\t\u200c\u200d")
    assert shown(line) == line
    line.encode()

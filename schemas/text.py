"""Text from outside: made clean once, where it comes in; and shown so that it cannot do anything to a screen."""

from __future__ import annotations

import re
import unicodedata

BOM = "\ufeff"
# Scripts that put no spaces between words, as sets for the regular expressions of `regex`, Rust and RE2; and how many
# of their characters are about as long as a word of those that do.
BRIEF = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}ーｰ"  # the last two are marks of long vowels
ALPHABETS = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
UNSPACED = BRIEF + ALPHABETS
BRIEF_A_WORD, ALPHABETS_A_WORD = 2, 4
_NEWLINE = re.compile(r"\r\n?")
_LONE = re.compile(r"[\ud800-\udfff]")
_SHOWN = "\n\t"  # of the control characters


def clean(text: str) -> str:
    """Text as it is kept: no byte order mark before it, and lines that end in LF, so that the same text has one id.

    Raises:
        ValueError: it holds what no table, file or tokenizer keeps: a NUL, or half of a surrogate pair.
    """
    text = _NEWLINE.sub("\n", text.lstrip(BOM))
    if "\0" in text:
        raise ValueError(f"it holds a NUL character, at character {text.index(chr(0)) + 1}")
    if found := _LONE.search(text):
        raise ValueError(f"it holds half of a surrogate pair, U+{ord(found[0]):04X}, at character {found.start() + 1}")
    return text


def mended(text: str) -> str:
    """Text that has to be kept whatever it holds: U+FFFD in the place of what `clean` refuses."""
    return _LONE.sub("\ufffd", text.replace("\0", "\ufffd"))


def blank(text: str) -> bool:
    """Whether a text shows nothing: white space, and what is not seen."""
    return not any(c.isprintable() and not c.isspace() for c in text)


def same(text: str) -> str:
    """The form in which two texts are the same text: in one normal form of Unicode, without white space and without
    what is not seen.
    """
    composed = unicodedata.normalize("NFKC", text)
    return "".join(c for c in composed if not c.isspace() and unicodedata.category(c) != "Cf")


def shown(text: str, most: int | None = None) -> str:
    """Text for a terminal or a page: control, direction and other invisible characters are written as escapes, so that
    they can be seen and do nothing. Longer than `most` characters, it is cut with an ellipsis.
    """
    if most is not None and len(text) > most:
        text = text[: max(0, most - 1)] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in _SHOWN or not _acts(c) else _escape(c) for c in text)


def on_one_line(text: str, most: int) -> str:
    """Text from outside within a sentence: as `shown`, and without breaks."""
    return " ".join(shown(text, most).split())


def shortened(text: str, most: int, word: int = 300) -> str:
    """Text without its middle where it is longer than `most` characters, and words longer than `word` without theirs:
    what was said of a value stays readable, whatever the value is.
    """
    text = re.sub(rf"\S{{{word + 1},}}", lambda long: _ends(long[0], word), text)
    return _ends(text, most) if len(text) > most else text


def _ends(text: str, most: int) -> str:
    return f"{text[: most // 2]}…{text[len(text) - most // 2 + 1 :]}"


def _acts(character: str) -> bool:
    """Cc: terminal codes; Cf: directions, joiners, tags; Cs: half pairs; Zl, Zp: lines that are none to a program.

    The joiners of scripts and emoji (U+200C, U+200D) are text.
    """
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\u200c\u200d"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

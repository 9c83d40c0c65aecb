"""Plain text helpers: sentences, windows of them, and the form in which texts are compared."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
# A token longer than this is cut: a text without spaces would otherwise be one endless word.
TOKEN_CHARACTERS = 100


def normalise(text: str) -> str:
    """Lower-case words between single spaces, with a space at both ends, so that `in` compares whole words."""
    return f" {' '.join(_WORD.findall(text.lower()))} "


def sentences(text: str, longest: int) -> list[list[str]]:
    """Sentences as words; one longer than `longest` words is cut."""
    found: list[list[str]] = []
    for sentence in _SENTENCE_END.split(text):
        words = [piece for token in sentence.split() for piece in _pieces(token)]
        found += [words[i : i + longest] for i in range(0, len(words), longest)]
    return found


def _pieces(token: str) -> list[str]:
    return [token[i : i + TOKEN_CHARACTERS] for i in range(0, len(token), TOKEN_CHARACTERS)]


def windows(units: list[list[str]], size: int, overlap: int) -> list[list[int]]:
    """Runs of sentence numbers of about `size` words; neighbours share whole sentences of up to `overlap` words."""
    found: list[list[int]] = []
    window: list[int] = []
    words = fresh = 0
    for i, unit in enumerate(units):
        if fresh and words + len(unit) > size:
            found.append(window)
            window = _tail(units, window, min(overlap, size - len(unit)))
            words, fresh = sum(len(units[j]) for j in window), 0
        window = [*window, i]
        words, fresh = words + len(unit), fresh + 1
    return [*found, window] if fresh else found


def _tail(units: list[list[str]], window: list[int], overlap: int) -> list[int]:
    start, words = len(window), 0
    while start > 1 and words + len(units[window[start - 1]]) <= overlap:
        start -= 1
        words += len(units[window[start]])
    return window[start:]

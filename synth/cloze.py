"""Cloze questions on documents: a term that only one window of the text has, masked in its sentence.

A document comes in; a draft of one context with its questions goes out, or none.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import regex

from evoembedding.schemas.configs import ClozeConfig
from evoembedding.schemas.episode import Document, Draft, Segment
from evoembedding.schemas.identity import identity
from evoembedding.schemas.text import UNSPACED
from evoembedding.synth.drafting import Asked, draft
from evoembedding.synth.generator import Generator
from evoembedding.synth.tables import tables
from evoembedding.synth.taxonomy import QUESTION_TYPES
from evoembedding.synth.text import TOKEN_CHARACTERS, joined, length, normalise, sentences, windows, words

VERSION = "cloze-2"
CHANCE = "cloze-1"  # what is drawn by; it stays, so that another version chooses the same where it can
GENERATOR = "cloze"
BLANK = "____"
NOTHING = "no unique salient term in any window; none is looked for in scripts that put no spaces between words"
AROUND = 18  # words kept on each side of the blank
QUESTION_WORDS = 52  # the most that a question may have; 99 % of the paper's have fewer
SMALLEST_WINDOW = 3
FRAMES = (
    'Fill in the blank: "{}"',
    'Which term is missing here: "{}"?',
    'What stood in place of the blank in "{}"?',
    'Complete the statement: "{}"',
    'Which word completes "{}"?',
)
# Letters, digits and the marks on them. Where a script puts no spaces, no term can be told from the words around it.
_LETTERS = rf"[[\w\p{{N}}]--[{UNSPACED}]]+"
_TERM = regex.compile(rf"(?V1)(?!\p{{M}}){_LETTERS}(?:[._\-]{_LETTERS})*")


class _Part(NamedTuple):
    """Consecutive windows of a document: sentence numbers, and the text of each window."""

    units: list[list[str]]
    windows: list[list[int]]
    texts: list[str]


class _Cloze(NamedTuple):
    text: str
    answer: str
    window: int


def components(config: ClozeConfig) -> dict[str, Any]:
    """What can change a question, by name: version, tables and settings."""
    held = tables(__name__, "synth.text", but=("QUESTION_TYPES",))
    return {"code": VERSION, "tables": held, "family": QUESTION_TYPES["cloze"].family, **identity(config)}


def cloze(document: Document, config: ClozeConfig) -> Iterator[Draft]:
    """At most one draft: questions on one part of the document, chosen by the seed and the document's id.

    A text too short for two windows, or without a unique term, is tried again with windows of half the size.
    """
    size, overlap, stage = config.window_words, config.overlap_words, generator.fingerprint(config)
    while size >= SMALLEST_WINDOW:
        rng = random.Random(f"{CHANCE}/{config.seed}/{document.document_id}/{size}")
        for part in _parts(rng, document.text, size, overlap, config.max_segments):
            found = _questions(rng, part, config.questions_per_document)
            if found:
                segments = [Segment(user=text) for text in part.texts]
                asked = [Asked("cloze", one.text, one.answer, (one.window,)) for one in found]
                document_id = document.document_id
                yield draft(GENERATOR, "web", segments, asked, stage, seed=config.seed, document_id=document_id)
                return
        size, overlap = size // 2, overlap // 2


def _parts(rng: random.Random, text: str, size: int, overlap: int, longest: int) -> Iterator[_Part]:
    """The document's parts of 2 to `longest` windows, evenly cut, in random order."""
    units = sentences(text, size)
    cut = windows([len(unit) for unit in units], size, overlap)
    count = -(-len(cut) // longest)
    bounds = [(len(cut) * i // count, len(cut) * (i + 1) // count) for i in range(count)]
    rng.shuffle(bounds)
    for start, stop in bounds:
        if stop - start >= 2:
            part = cut[start:stop]
            yield _Part(units, part, [joined([word for i in window for word in units[i]]) for window in part])


def _questions(rng: random.Random, part: _Part, count: int) -> list[_Cloze]:
    """Up to `count` questions, in different windows where there are enough, the most salient terms first."""
    normal = [normalise(text) for text in part.texts]
    # In how many windows a term stands, not how often: twice in one window is still one window's.
    frequency = Counter(term for text in part.texts for term in {t.lower() for t in _TERM.findall(text)})
    found: list[_Cloze] = []
    order = list(range(len(part.windows)))
    rng.shuffle(order)
    for window in order:
        one = _in_window(rng, part, window, normal, frequency)
        if one is not None:
            found.append(one)
        if len(found) == count:
            break
    return found


def _in_window(
    rng: random.Random, part: _Part, window: int, normal: list[str], frequency: Counter[str]
) -> _Cloze | None:
    terms = [
        # By chance among equals: by place it would always be a window's first.
        (_salience(match, sentence), rng.random(), match, sentence)
        for sentence in (joined(part.units[i]) for i in part.windows[window])
        for match in _TERM.finditer(sentence)
        if frequency[match.group().lower()] == 1
    ]
    for _, _, match, sentence in sorted(terms, key=lambda term: (-term[0], term[1])):
        answer = match.group()
        # Looked for again as words: elsewhere the term may be a part of a longer one.
        if sum(normalise(answer) in text for text in normal) != 1 or not _tells(answer):
            continue
        masked = _masked(sentence, match)
        text = rng.choice(FRAMES).replace("{}", masked)
        # Something must be left to go by, and neither frame nor sentence may give the answer away.
        held = words(masked.replace(BLANK, " "))
        if held and length(text) <= QUESTION_WORDS and normalise(answer) not in normalise(text):
            return _Cloze(text, answer, window)
    return None


def _tells(answer: str) -> bool:
    """One letter is no term, a digit is; nor is what is longer than any word."""
    return bool(words(answer)) and (1 < len(answer) <= TOKEN_CHARACTERS or answer.isdigit())


def _salience(match: regex.Match[str], sentence: str) -> int:
    """Identifiers, numbers and names over long words over the rest; a sentence of few words says little."""
    term = match.group()
    short = -4 if length(sentence) < 6 else 0
    if "_" in term or "." in term or any(c.isupper() for c in term[1:]):
        return 3 + short
    if (term[0].isupper() and match.start() > 0) or term.isdigit():
        return 2 + short
    return (1 if len(term) >= 6 else 0) + short


def _masked(sentence: str, match: regex.Match[str]) -> str:
    """The sentence around the blank. Words glued to the term stay."""
    before, after = sentence[: match.start()].split(" "), sentence[match.end() :].split(" ")
    return " ".join(before[-AROUND - 1 :]) + BLANK + " ".join(after[: AROUND + 1])


generator = Generator(
    GENERATOR,
    "questions on documents: a term that only one window has, masked in its sentence",
    "documents",
    components,
    configs=lambda recipe: (recipe.cloze,) if recipe.cloze else (),
    from_document=lambda config, document: cloze(document, config),
    nothing=NOTHING,
    names_tables=True,
)

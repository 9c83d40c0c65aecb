"""What a page is called: front matter, headings of three forms, a first line; never a mark."""

from __future__ import annotations

import time

import pytest

from evoembedding.synth.documents.titles import Page, markdown, plain, restructured

BODY = "The ferry leaves the harbour at nine.\n"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ntitle: Tide tables of Quillon\ntags: [sea]\n---\n\n# Tide tables\n\n" + BODY, "Tide tables of Quillon"),
        ("---\ntitle: 'Quoted: with a colon'\n---\n" + BODY, "Quoted: with a colon"),
        ("---\ntitle: Bare: with a colon\n---\n" + BODY, "Bare: with a colon"),
        ("---\ntitle: 2024\n---\n" + BODY, "2024"),
        *((f"---\ntitle: {odd}\n---\n# Heading\n", odd) for odd in ("007", "0x10", "12:30", "No", "1.50", ".nan")),
        *((f"---\ntitle: {odd}\n---\n# Heading\n", "Heading") for odd in ("", '""', "~", "null", "NULL", "{a: b}")),
        *((f"---\ntitle: {odd}\n---\n# Heading\n", odd.strip("\"'")) for odd in ('"null"', "'~'", '"Null"')),
        *((f'+++\ntitle = "{odd}"\n+++\n# Heading\n', odd) for odd in ("null", "~")),
        ("---\ntitle: null\ntags: a: b\n---\n# Heading\n", "Heading"),
        ("---\ntitle: 'null'\ntags: a: b\n---\n# Heading\n", "null"),
        ("---\ntitle: !!python/object:os.system x\n---\n" + BODY, "x"),
        ("---\ntitle: >-\n  Of two\n  lines\n---\n" + BODY, "Of two lines"),
        ("---\nTITLE: A\ntitle: B\n---\n" + BODY, "A"),
        ("\n\n---\ntitle: After blank lines\n---\n" + BODY, "After blank lines"),
        ("+++\ntitle = 2024-03-01\n+++\n" + BODY, "2024-03-01"),
        ("+++\ntitle = true\n+++\n# Heading\n" + BODY, "Heading"),
        ("---\ndate: 2024-03-01\n---\n# Heading\n" + BODY, "Heading"),
        ("---\n---\n# Heading\n" + BODY, "Heading"),
        ("---\ntitle: [a, list]\n---\n# Heading\n" + BODY, "Heading"),
        ("---\ntitle: Dots end it\n...\n" + BODY, "Dots end it"),
        ('+++\ntitle = "Of TOML"\n+++\n' + BODY, "Of TOML"),
        ("+++\nnot TOML\n+++\n# Heading\n" + BODY, "Heading"),
        ("---\n" + BODY, "The ferry leaves the harbour at nine."),
        ("---\n\nno mapping\n\n---\n" + BODY, "no mapping"),
        ("# Notes on C#\n\n" + BODY, "Notes on C#"),
        ("# Closed #\n\n" + BODY, "Closed"),
        ("## Second level ##   \n" + BODY, "Second level"),
        ("Setext\n======\n\n" + BODY, "Setext"),
        ("Of two\n---\n\n" + BODY, "Of two"),
        ("```\n# a comment\n```\n\n# Heading\n", "Heading"),
        ("~~~sh\n# a comment\n~~~\n" + BODY, "~~~sh"),
        ("    # indented code\n\n# Heading\n", "Heading"),
        ("<!-- # hidden -->\n\n# Heading\n", "Heading"),
        ("# The `foo` of **bar** [here](http://x)\n", "The foo of bar here"),
        ("#\n\n# Heading\n", "Heading"),
        ("#hashtag first\n\n" + BODY, "#hashtag first"),
        ("Some words first.\n\n# Heading\n", "Heading"),
        ("***\n\n" + BODY, "The ferry leaves the harbour at nine."),
        ("###\n***\n", ""),
        ("# 港口日志\n\n渡船", "港口日志"),
    ],
)
def test_markdown(text: str, title: str) -> None:
    assert markdown(text).title == title


def test_front_matter_is_no_text_and_what_is_none_stays() -> None:
    assert markdown("---\ntitle: A\nlicense: CC0\n---\n\n" + BODY) == Page(BODY, "A", "CC0")
    assert markdown("---\n---\n" + BODY).text == BODY
    assert markdown("---\nlicense: [MIT, CC0-1.0]\n---\n" + BODY).license == "MIT, CC0-1.0"
    assert markdown("---\nlicense: [null, MIT]\n---\n" + BODY).license == "MIT"
    for kept in ("---\nno mapping\n---\n" + BODY, "---\n" + BODY, "--- title ---\n" + BODY, "# A\n\n---\nb: c\n---\n"):
        assert markdown(kept).text == kept


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Harbour log\n===========\n\n" + BODY, "Harbour log"),
        ("===========\nHarbour log\n===========\n\n" + BODY, "Harbour log"),
        ("=============\n Harbour log\n=============\n\n" + BODY, "Harbour log"),
        (".. comment\n\n:orphan:\n\nHarbour log\n~~~~~~~~~~~\n" + BODY, "Harbour log"),
        ("Harbour\n===\n" + BODY, "Harbour"),
        (BODY, BODY.strip()),
    ],
)
def test_restructured(text: str, title: str) -> None:
    assert restructured(text) == Page(text, title)


def test_plain_text_begins_with_its_title() -> None:
    assert plain("\n ---- \n  Harbour log  \n" + BODY).title == "Harbour log"
    assert plain("# Harbour log #\n" + BODY).title == "Harbour log"
    assert len(plain("x" * 5000).title) == 200
    assert plain("...\n").title == ""


@pytest.mark.parametrize("mark", ["[", "(", "*a ", "_", "> ", "`", "![", "<a ", "&", "- ", "#", "---\n", "=\n", "\\"])
def test_marks_in_any_number_do_not_hold_a_reader_up(mark: str) -> None:
    began = time.process_time()
    for text in (mark * 50_000, "# " + mark * 50_000, "---\n" + mark * 50_000, "---\na: " + mark * 3000 + "\n---\nx"):
        markdown(text)
        restructured(text)
    assert time.process_time() - began < 5

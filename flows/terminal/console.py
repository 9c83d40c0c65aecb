"""How commands print: tables and lines for people, JSON for programs. Nothing that came from outside can act on the
screen: it passes `shown` here, on its way out.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from evoembedding.flows.terminal.tables import fitted
from evoembedding.schemas.text import shortened, shown

REFUSED = 3  # the exit code of what was judged and refused

LONGEST = 2000  # characters of a sentence on standard error
WIDTH = 100  # columns where there is no terminal: a file, a pipe
console = Console(width=None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else WIDTH)
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def say(value: object, as_json: bool, text: str) -> None:
    """One result, as JSON or as a line of text."""
    if as_json:
        say_json(value)
    else:
        say_text(text)


def say_json(value: object) -> None:
    """JSON of ASCII alone: every program reads it, and no character of it acts on a terminal."""
    print(json.dumps(value, default=_plain))


def say_text(text: str) -> None:
    """Lines on standard output, as they are: unwrapped, without markup, whatever cannot be seen written as escapes."""
    print(shown(text))


def say_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "", keys: int = 1) -> None:
    """A table of the terminal's width, or several; each has the first `keys` columns."""
    console.print(fitted(console, columns, rows, title, keys))


def warn(text: str) -> None:
    """A line on standard error: what went on, or went wrong, beside the result."""
    print(shown(shortened(text, LONGEST)), file=sys.stderr, flush=True)


def fail(sentence: str) -> None:
    """The one sentence of a command that failed."""
    warn(f"evo: {sentence}")


def _plain(value: object) -> str:
    """What JSON has no form for: moments are ISO 8601."""
    return value.isoformat() if isinstance(value, datetime) else str(value)

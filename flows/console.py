"""How commands print: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

console = Console(width=None if sys.stdout.isatty() else 160)
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def say(value: object, as_json: bool, text: str) -> None:
    """One result, as JSON or as a line of text."""
    if as_json:
        print(json.dumps(value, ensure_ascii=False, default=_plain))
    else:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _plain(value: object) -> str:
    """What JSON has no form for: moments are ISO 8601."""
    return value.isoformat() if isinstance(value, datetime) else str(value)

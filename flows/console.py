"""How commands print: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

console = Console(width=None if sys.stdout.isatty() else 160)
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def say(value: object, as_json: bool, text: str) -> None:
    """One result, as JSON or as a line of text."""
    if as_json:
        print(json.dumps(value, ensure_ascii=False, default=str))
    else:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

"""Every command and subcommand in Markdown, from the Typer app. `typer.cli` writes what its own `utils docs` prints."""

from __future__ import annotations

import re

import typer
from typer.cli import get_docs_for_click

from evoembedding.flows.commands.app import app

SHORT_LIST = re.compile(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n?")  # cut off in mid-sentence, and told in the table
EXAMPLES = re.compile(r"^Example: (.*)$", re.M)


def overview() -> str:
    """A table: each command, and its docstring's first paragraph."""
    rows = [f"| `{name}` | {told} |" for name, told in commands()]
    return "\n".join(["| command | does |", "|---|---|", *rows])


def reference() -> str:
    """A section a command: its docstring, arguments, options and examples."""
    root = typer.main.get_command(app)
    text = get_docs_for_click(obj=root, ctx=typer.Context(root), name="evo")
    _, text = text.split("## `evo demo`", 1)
    text = SHORT_LIST.sub("", f"## `evo demo`{text}").replace("* `--help`: Show this message and exit.\n", "")
    text = text.replace("**Options**:\n\n\n", "").replace("**Usage**:\n\n", "")
    text = EXAMPLES.sub(lambda found: _examples(found[1]), text)
    return re.sub(r"^(#+) ", r"#\1 ", text, flags=re.M).strip()


def commands() -> list[tuple[str, str]]:
    """Every command that does something, groups left out, as it is typed: `evo dataset list`, and what it does."""
    return _within(typer.main.get_group(app), "evo")


def _within(group: typer.core.TyperGroup, name: str) -> list[tuple[str, str]]:
    found = list[tuple[str, str]]()
    for word, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            found += _within(command, f"{name} {word}")
        else:
            found.append((f"{name} {word}", _first_paragraph(command.help or "")))
    return found


def _first_paragraph(told: str) -> str:
    return " ".join(told.split("\n\n")[0].split()).replace("|", "\\|")


def _examples(line: str) -> str:
    """One line each: the epilog parts them by three spaces."""
    return "\n".join(["Examples:", "", "```console", *(f"$ {one}" for one in line.split("   ")), "```"])

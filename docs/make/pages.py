"""Which parts of which pages are made from the code. `tests/test_docs.py` holds every page to what is made of it today.

A part stands between two comments of the page, which name it; all else of the page is written by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from docs.make import api, arrows, commands, configuration, registries, tables, tree

DOCS = Path(__file__).parents[1]
PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "api.md": {"reference": api.reference},
    "architecture.md": {"layers": arrows.layers, "generators": registries.generators, "tree": tree.tree},
    "commands.md": {"commands": commands.overview, "reference": commands.reference},
    "configuration.md": {"settings": configuration.settings},
    "evaluation.md": {"benchmarks": registries.benchmarks, "baselines": registries.baselines},
    "model.md": {"backbones": registries.backbones},
    "sql.md": {"tables": tables.tables},
    "teachers.md": {"checks": registries.checks},
    "training.md": {"recipes": registries.recipes},
}


def current(page: str) -> str:
    """A page with its generated parts made anew.

    Raises:
        ValueError: it lacks one of its parts.
    """
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, make in PAGES[page].items():
        text = replaced(text, name, make())
    return text


def replaced(text: str, name: str, made: str) -> str:
    """The text of a page with another part in place of the one of that name.

    Raises:
        ValueError: it has no such part.
    """
    start, end = f"<!-- {name}: made by docs/make -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the page has no part between '{start}' and '{end}'; nothing was made; write both into it")
    return f"{before}{start}\n\n{made}\n\n{end}{after}"

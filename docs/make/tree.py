"""The tree of the code in Markdown: each file with the first sentence of its docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).parents[2]
FOLDERS = (
    *("schemas", "retrieval", "warehouse", "synth", "trainer", "evaluation", "flows"),
    *("evoembedding", "examples", "benchmarks", "docs/make"),
)
COLUMN, WIDTH = 28, 120


def tree() -> str:
    """A block of text: folders, and under them their files."""
    lines: list[str] = []
    for name in FOLDERS:
        if (ROOT / name).is_dir():
            lines += [*_lines(f"{name}/", sentence(ROOT / name / "__init__.py"), 0), *_within(ROOT / name, 1)]
    return "\n".join(["```", *lines, "```"])


def sentence(path: Path) -> str:
    """The first sentence of a file's docstring, without its full stop; empty where there is none."""
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.exists() else None
    first = re.match(r"(.*?)(?:\.(?=\s|$)|$)", " ".join((told or "").split("\n\n")[0].split()))
    return first[1] if first else ""


def _within(folder: Path, depth: int) -> Iterator[str]:
    """Files, then folders, by name. The links in `evoembedding` are not followed: what they name is there already."""
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            yield from _lines(path.name, sentence(path), depth)
    for path in sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink() and any(p.glob("*.py"))):
        yield from _lines(f"{path.name}/", sentence(path / "__init__.py"), depth)
        yield from _within(path, depth + 1)


def _lines(name: str, told: str, depth: int) -> list[str]:
    start = f"{'  ' * depth}{name}"
    first, *rest = wrap(told, WIDTH - COLUMN) or [""]
    return [f"{start:<{COLUMN - 1}} {first}".rstrip(), *(" " * COLUMN + line for line in rest)]

"""The layers within each room in Markdown, from the contracts that import-linter holds the code to."""

from __future__ import annotations

import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def layers() -> str:
    """A row a contract of layers: the upper may import the lower."""
    contracts = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    rows = [
        f"| `{container.removeprefix('evoembedding.')}` | {' → '.join(map(_cell, contract['layers']))} |"
        for contract in contracts
        if contract["type"] == "layers"
        for container in contract["containers"]
    ]
    return "\n".join(["| within | layers |", "|---|---|", *rows])


def _cell(layer: str) -> str:
    return layer.replace("|", "\\|")

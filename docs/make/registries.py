"""What can be chosen by name, as tables: each row is an entry of a registry."""

from __future__ import annotations

from collections.abc import Iterable

from evoembedding.evaluation.baselines import BASELINES
from evoembedding.evaluation.benchmarks import BENCHMARKS
from evoembedding.flows.recipes import RECIPES
from evoembedding.synth.checks import CHECKS
from evoembedding.synth.generators import GENERATORS
from evoembedding.trainer.backbones.known import BACKBONES


def benchmarks() -> str:
    """Names, what they are, and the file that they are read from."""
    rows = ((f"`{one.name}`", one.says, f"`{one.file}`" if one.file else "none") for one in BENCHMARKS.values())
    return _table(("benchmark", "what it is", "`--path`"), rows)


def baselines() -> str:
    """Names as score tables show them, and what they are."""
    return _table(("baseline", "what it is"), ((one.name, one.says) for one in BASELINES.values()))


def backbones() -> str:
    """Names and what they stand for."""
    rows = [(f"`{name}`", known.says) for name, known in BACKBONES.items()]
    return _table(("name", "what it is"), [*rows, ("a folder, or a hub id", "any Hugging Face decoder below")])


def generators() -> str:
    """Names, what they make, and of what."""
    rows = ((f"`{one.name}`", one.says, one.source) for one in GENERATORS.values())
    return _table(("generator", "what it makes", "from"), rows)


def checks() -> str:
    """Names, what they demand, and whom of."""
    rows = []
    for check in CHECKS.values():
        taught = f"asks: {', '.join(check.prompts)}" if check.prompts else "no call"
        offline = "reads" if check.reads else "none"
        rows.append((f"`{check.name}`", check.says, offline, taught))
    return _table(("check", "what it demands", "of offline drafts", "of teachers' questions"), rows)


def recipes() -> str:
    """Names with the first paragraph of each recipe's docstring."""
    told = {name: " ".join((made.__doc__ or "").split("\n\n")[0].split()) for name, made in RECIPES.items()}
    return _table(("recipe", "what it makes"), ((f"`{name}`", says) for name, says in told.items()))


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

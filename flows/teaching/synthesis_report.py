"""The report of a recipe's teaching: funnel, cost, lengths and types beside the paper's. Markdown, readable as text."""

from __future__ import annotations

from pathlib import Path

from evoembedding.schemas.budget import Spent
from evoembedding.schemas.configs import Recipe
from evoembedding.synth.fingerprints import chains
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.statistics import PAPER, Statistics, accepted_under, statistics

BAR = 30


def report_path(home: Path, recipe: Recipe) -> Path:
    """Where the report is kept; its folder is made."""
    folder = home / "reports"
    folder.mkdir(exist_ok=True)
    return folder / f"{recipe.name}.md"


def synthesis_report(warehouse: Warehouse, recipe: Recipe, spent: Spent) -> str:
    """Of all runs of the recipe's stages together, as they are configured now."""
    assert recipe.teaching is not None
    last = {kind: chain.verify.fingerprint for kind, chain in chains(recipe.teaching).items()}
    found = statistics(warehouse, accepted_under(list(last.values())))
    lines = [f"# Synthesis of '{recipe.name}'", "", "## Funnel", "", *_funnel(warehouse, list(last.values()))]
    a_piece = f"{spent.cost / found.episodes:.6f}" if found.episodes else "none accepted"
    lines += [
        "",
        "## Cost, over all runs",
        "",
        *_table(
            ["calls", "tokens", "cost", "accepted episodes", "cost per accepted episode"],
            [[spent.calls, spent.tokens, f"{spent.cost:.4f}", found.episodes, a_piece]],
        ),
    ]
    return "\n".join([*lines, *(_shape(found) if found.episodes else [])]) + "\n"


def _shape(found: Statistics) -> list[str]:
    return [
        "",
        "## Lengths (tokens are estimated)",
        "",
        *_table(
            ["", "here", "EvoTrain-180K"],
            [[name, f"{found.figures[name]:g}", f"{PAPER[name]:g}"] for name in found.figures],
        ),
        "",
        "## Accepted episodes by family and by type",
        "",
        *_table(["family", "episodes", ""], _bars(found.families)),
        "",
        *_table(["type", "episodes", ""], _bars(found.types)),
    ]


def _funnel(warehouse: Warehouse, last: list[str]) -> list[str]:
    # The last attempt of an item stands for it: those before left out what it has made good.
    counted = warehouse.query(
        """SELECT kind, count(*) AS items, sum(contexts)::BIGINT AS contexts,
                  sum(failed_contexts)::BIGINT AS failed_contexts, sum(asked)::BIGINT AS asked,
                  sum(failed)::BIGINT AS failed, sum(drafted)::BIGINT AS drafted,
                  sum(accepted)::BIGINT AS accepted, sum(rejected)::BIGINT AS rejected
           FROM (SELECT * FROM outcomes WHERE list_contains(?::VARCHAR[], fingerprint)
                 QUALIFY attempt = max(attempt) OVER (PARTITION BY item, fingerprint))
           GROUP BY kind ORDER BY kind""",
        (last,),
    )
    # Without `all`, which is the last word over the others and no check.
    reasons = warehouse.query(
        """SELECT check_name, count(*) AS questions, count(*) FILTER (NOT passed) AS rejected, avg(score) AS mean_score
           FROM verdicts WHERE list_contains(?::VARCHAR[], fingerprint) AND check_name <> 'all'
           GROUP BY check_name ORDER BY rejected DESC, check_name""",
        (last,),
    )
    checks = [[c, n, r, "" if s is None else f"{s:.2f}"] for c, n, r, s in reasons.iter_rows()]
    return [
        *_table(counted.columns, [list(row) for row in counted.iter_rows()]),
        "",
        "A question that several checks reject counts at each of them:",
        "",
        *_table(["check", "questions", "rejected", "mean score"], checks),
    ]


def _bars(counts: dict[str, int]) -> list[list[object]]:
    most = max(counts.values(), default=1)
    # At least one block: what is there at all is seen.
    return [[name, count, "█" * max(1, round(BAR * count / most))] for name, count in counts.items()]


def _table(head: list[str], rows: list[list[object]]) -> list[str]:
    """A Markdown table whose columns are aligned, so that it reads well as text."""
    cells = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]

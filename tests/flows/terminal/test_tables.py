"""Tables fit the terminal: at any width no number is cut, and text from outside does nothing."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from evoembedding.flows.terminal.tables import fitted

TYPES = ("state", "latest", "first", "before_event", "correction", "cancellation")
SCORES = [
    "system",
    "Recall@1",
    "Recall@5",
    "Recall@10",
    "nDCG@10",
    *(f"{name}\n({n}76)" for n, name in enumerate(TYPES)),
]
SYSTEMS = ("EvoEmbedding", "EvoEmbedding, memory off", "all-MiniLM-L6-v2", "BM25 with stemming", "recency", "random")
PLAN = ("kind", "stage", "done", "pending", "invalidated", "because", "calls", "tokens", "cost", "hours")


def printed(width: int, *table: object, **how: int) -> str:
    console = Console(width=width, file=StringIO(), record=True)
    console.print(fitted(console, *table, **how))  # type: ignore[arg-type]
    return console.export_text()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_number_is_cut_at_any_width(width: int) -> None:
    values = iter(range(1000, 9999))
    scores = [[name, *(f"{next(values) / 10:.1f}" for _ in SCORES[1:])] for name in SYSTEMS]
    plan = [
        (
            "dialogue",
            stage,
            *(str(next(values)) * 2 for _ in range(3)),
            "prompt, a long list of parts, of a stage",
            "123456",
            "1234567890",
            "1234.5678",
            "123.45",
        )
        for stage in ("contexts", "questions", "verify")
    ]
    for columns, rows, keys in ((SCORES, scores, 1), (PLAN, plan, 2)):
        text = printed(
            width, columns, rows, "A title, which is longer than some terminals are wide, as ours", keys=keys
        )
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width
        words = text.replace("│", " ").split()
        for row in rows:
            for cell in row[keys:]:
                assert cell in text if " " in cell and width > 120 else set(cell.split()) <= set(words), (cell, text)
        assert all(name.split("\n")[0] in text for name in columns)


def test_metrics_stand_above_types_where_not_all_fit() -> None:
    rows = [[name, *(["12.3"] * 10)] for name in SYSTEMS]
    assert printed(200, SCORES, rows, first=5).count("EvoEmbedding, memory off") == 1
    above, below = printed(100, SCORES, rows, first=5).split("cancellation")
    assert "nDCG@10" in above.split("latest")[0]
    assert "Recall@1" not in below


def test_names_from_outside_are_shown_as_they_are() -> None:
    text = printed(100, ["generator", "questions"], [["[/x][bold]\x1b[31m\u202e", 3]], "of [/red]")
    assert "[/x][bold]\\x1b[31m\\u202e" in text
    assert "of [/red]" in text

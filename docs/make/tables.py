"""The tables and views of the lake in Markdown, from the records."""

from __future__ import annotations

from evoembedding.warehouse.sql.comments import column_comment, table_comment
from evoembedding.warehouse.sql.views import VIEWS
from evoembedding.warehouse.tables import TABLES, columns


def tables() -> str:
    """A section a table, with its key in bold, and a list of the views."""
    parts: list[str] = []
    for name, table in TABLES.items():
        parts += [f"### {name}", "", table_comment(name), "", "| column | type | holds |", "|---|---|---|"]
        for column, kind in columns(name).items():
            shown = f"**{column}**" if column in table.key else column
            parts.append(f"| {shown} | {kind} | {_cell(column_comment(name, column))} |")
        parts.append("")
    parts += ["### Views", "", "| view | a row is |", "|---|---|"]
    parts += [f"| {name} | {_cell(view.comment)} |" for name, view in VIEWS.items()]
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

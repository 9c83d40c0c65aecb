"""The tables and views of the lake in Markdown, from the records.

python -m evoembedding.warehouse.sql.document docs/sql.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from evoembedding.schemas.files import write_whole
from evoembedding.warehouse.sql.comments import column_comment, table_comment
from evoembedding.warehouse.sql.views import VIEWS
from evoembedding.warehouse.tables import TABLES, columns

START, END = "<!-- tables: made by warehouse/sql/document.py -->", "<!-- end of tables -->"


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


def documented(text: str) -> str:
    """The page with its generated part made anew.

    Raises:
        ValueError: it has no such part.
    """
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no part between '{START}' and '{END}'")
    return f"{before}{START}\n\n{tables()}\n\n{END}{after}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    page = Path(sys.argv[1])
    write_whole(page, documented(page.read_text(encoding="utf-8")))

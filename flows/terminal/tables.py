"""Tables that fit the terminal: numbers are never cut, and columns that find no room come in a further table below."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from evoembedding.schemas.text import shown

NUMBER = re.compile(r"[-+\d.,e]*")
NARROWEST = 16  # of a column of text, which is folded where it is longer
EDGE, BESIDE = 1, 3  # characters around a table, and around a cell


def fitted(
    console: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    title: str = "",
    keys: int = 1,
    first: int = 0,
) -> Group:
    """Rows as a table of the console's width, or as several, each with the first `keys` columns.

    Where there are several, the first one holds no more than the `first` columns, if that is given. Cells are text as
    it is: markup in them means nothing.
    """
    cells = [[shown(str(cell)) for cell in row] for row in rows]
    names = [shown(name) for name in columns]
    wide = [_width(name, [row[i] for row in cells]) for i, name in enumerate(names)]
    groups = _groups(wide, console.width, keys, first)
    tables = [_table(names, cells, group, title if group is groups[0] else "") for group in groups]
    return Group(*tables)


def _width(name: str, cells: Sequence[str]) -> int:
    """What a column needs: a number its whole length, text enough to be folded into."""
    longest = max((cell_len(line) for cell in (name, *cells) for line in cell.split("\n")), default=0)
    if _numeric(cells):
        return longest
    return min(longest, max(NARROWEST, max(cell_len(line) for line in name.split("\n"))))


def _numeric(cells: Sequence[str]) -> bool:
    return all(NUMBER.fullmatch(cell) for cell in cells)


def _groups(wide: Sequence[int], width: int, keys: int, first: int) -> list[list[int]]:
    """The columns of each table."""
    every = list(range(len(wide)))
    if _total(wide, every) <= width:
        return [every]
    groups: list[list[int]] = []
    for column in every[keys:]:
        fits = groups and _total(wide, [*groups[-1], column]) <= width
        if not fits or (first and column == first):
            groups.append([*every[:keys]])
        groups[-1].append(column)
    return groups


def _total(wide: Sequence[int], columns: Sequence[int]) -> int:
    return EDGE + sum(wide[column] + BESIDE for column in columns)


def _table(names: Sequence[str], cells: Sequence[Sequence[str]], columns: Sequence[int], title: str) -> Table:
    table = Table(title=Text(title) if title else None)
    for column in columns:
        number = _numeric([row[column] for row in cells])
        name = Text(names[column])
        table.add_column(
            name,
            # `cells`, since of no rows every column would be one of numbers.
            justify="right" if number and cells else "left",
            no_wrap=number,
            min_width=_width(names[column], [row[column] for row in cells]),
            overflow="fold",
        )
    for row in cells:
        table.add_row(*(Text(row[column]) for column in columns))
    return table

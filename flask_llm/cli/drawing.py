"""Tables drawn: by rich at a terminal, where that extra is installed, or as plain text.

What goes into a file or another program is plain text in any case, as wide as it is.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from flask_llm.cli import terminal
from flask_llm.cli.tables import GAP, Bar, Cell, Column, Table, fit
from flask_llm.cli.terminal import columns_of, echo, styled


def show(table: Table) -> None:
    """Print a table; names from outside are shown as what they are."""
    table = table.harmless()
    room = terminal.room()
    fitting = fit(table, room)
    if table.title:
        echo(styled(table.title, bold=True))
    if fitting is None:
        echo("\n".join(_lists(table.without_bars())))
    elif room is None or not _draw(*fitting):
        echo("\n".join(_lines(*fitting)))


def _draw(table: Table, widths: Sequence[int]) -> bool:
    """Draw a table by rich; return whether that could be done."""
    if not terminal.can_write("█", sys.stdout.encoding):
        return False
    try:
        console, tables, text = (
            importlib.import_module(f"rich.{name}")
            for name in ("console", "table", "text")
        )
        box = importlib.import_module("rich.box").SIMPLE_HEAD
    except ModuleNotFoundError:
        return False
    drawn = tables.Table(
        box=box,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        header_style="bold cyan",
    )
    for column, width in zip(table.columns, widths, strict=True):
        justify = "right" if column.kind == "number" else "left"
        title = text.Text(column.title)
        drawn.add_column(title, justify=justify, width=width, overflow="fold")
    for row in table.rows:
        drawn.add_row(*_styled(text.Text, table.columns, row, widths))
    if table.total:
        drawn.add_section()
        total = _styled(text.Text, table.columns, table.total, widths)
        drawn.add_row(*total, style="bold")
    screen = console.Console(
        file=sys.stdout,
        width=terminal.room(),
        color_system="auto" if terminal.is_colourful() else None,
    )
    screen.print(drawn)
    return True


def _styled(
    make: Any, columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int]
) -> Iterator[Any]:
    """Return cells as rich's texts, in which nothing is taken for markup."""
    for column, cell, width in zip(columns, row, widths, strict=True):
        if isinstance(cell, Bar):
            yield make.assemble(*cell.pieces(width))
        else:
            yield make(cell, style="" if cell == "0" else column.style)


def _lines(table: Table, widths: Sequence[int]) -> Iterator[str]:
    """Return the lines of a table in plain text."""
    yield _line(table.columns, [column.title for column in table.columns], widths)
    for row in [*table.rows, table.total] if table.total else table.rows:
        cells = [_plain(cell, width) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            yield _line(table.columns, parts, widths)


def _line(
    columns: Sequence[Column], parts: Sequence[str], widths: Sequence[int]
) -> str:
    cells = []
    for column, part, width in zip(columns, parts, widths, strict=True):
        blanks = " " * (width - columns_of(part))
        cells.append(blanks + part if column.kind == "number" else part + blanks)
    return (" " * GAP).join(cells).rstrip()


def _plain(cell: Cell, width: int) -> list[str]:
    if isinstance(cell, Bar):
        return ["".join(text for text, _ in cell.pieces(width))]
    return cell.split("\n")


def _lists(table: Table) -> Iterator[str]:
    """Return each row as a list of its own, for terminals of a few columns."""
    for row in [*table.rows, table.total] if table.total else table.rows:
        cells = list(zip(table.columns, row, strict=True))
        yield "  ".join(str(cell) for column, cell in cells if column.kind == "name")
        for column, cell in cells:
            if column.kind == "number":
                yield f"  {column.title} {cell}"

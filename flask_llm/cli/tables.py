"""Tables of names, numbers and bars, made to fit a terminal without losing a figure.

Where a terminal is narrow, bars get shorter and go, and names go on in the next line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from flask_llm.cli.terminal import columns_of, cut, harmless

BAR_WIDTH = 24
GAP = 2
"""Columns of a terminal between two columns of a table."""

EIGHTHS = " ▏▎▍▌▋▊▉"

NEARLY = 0.8
"""From this share on a meter warns."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A share of a whole; as a meter it shows what is left of it, too."""

    share: float
    reserved: float = 0.0
    """What comes on top, drawn lighter."""
    is_meter: bool = False

    def pieces(self, width: int) -> list[tuple[str, str]]:
        """Return the parts of the bar, each with its style in rich's words."""
        whole, eighths = divmod(round(8 * width * min(1.0, max(0.0, self.share))), 8)
        if self.share > 0 and not whole:
            eighths = eighths or 1  # a little is not nothing
        filled = "█" * whole + EIGHTHS[eighths] * bool(eighths)
        both = round(width * min(1.0, self.share + self.reserved))
        held = "▒" * (both - len(filled))
        rest = "░" * (width - len(filled) - len(held)) if self.is_meter else ""
        return [(filled, self._style), (held, "yellow"), (rest, "bright_black")]

    @property
    def _style(self) -> str:
        if not self.is_meter:
            return "cyan"
        taken = self.share + self.reserved
        return "red" if taken >= 1 else "yellow" if taken >= NEARLY else "green"


Cell = str | Bar
Kind = Literal["name", "number", "bar"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; names may go on in a next line, numbers stand at the right."""

    title: str
    kind: Kind = "number"
    style: str = ""
    """Of what is not 0, in rich's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows below titles, a total below them where there is one."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    total: Sequence[Cell] = ()
    title: str = ""

    def harmless(self) -> Table:
        """Return the table with names from outside shown as what they are."""
        safe = self._with(lambda _, cell: _text(cell, harmless))
        return replace(safe, title=harmless(self.title))

    def without_bars(self) -> Table:
        """Return the table without its bars."""
        kept = [at for at, column in enumerate(self.columns) if column.kind != "bar"]
        return replace(
            self,
            columns=[self.columns[at] for at in kept],
            rows=[[row[at] for at in kept] for row in self.rows],
            total=[self.total[at] for at in kept] if self.total else (),
        )

    def folded(self, widths: Sequence[int]) -> Table:
        """Return the table with texts in as many lines as their columns need."""
        return self._with(
            lambda at, cell: _text(cell, lambda text: "\n".join(cut(text, widths[at])))
        )

    def widths(self) -> list[int]:
        """Return how much room each column takes where there is plenty."""
        lines = [*self.rows, self.total] if self.total else self.rows
        return [
            max([columns_of(column.title), *(_width(line[at]) for line in lines)])
            for at, column in enumerate(self.columns)
        ]

    def _with(self, change: Callable[[int, Cell], Cell]) -> Table:
        def changed(line: Sequence[Cell]) -> list[Cell]:
            return [change(at, cell) for at, cell in enumerate(line)]

        rows = [changed(row) for row in self.rows]
        return replace(self, rows=rows, total=changed(self.total))


def fit(table: Table, room: int | None) -> tuple[Table, list[int]] | None:
    """Return a table that fits, and its columns' widths; None where none does.

    :param room: columns of the terminal; None for as many as it takes.
    """
    bare = table.without_bars()
    for candidate, kind, least in ((table, "bar", 8), (bare, "name", 12)):
        widths = candidate.widths()
        over = 0 if room is None else sum(widths) + GAP * (len(widths) - 1) - room
        for at in sorted(range(len(widths)), key=lambda at: -widths[at]):
            column = candidate.columns[at]
            if over > 0 and column.kind == kind:
                spare = widths[at] - max(least, columns_of(column.title))
                given = max(0, min(over, spare))
                widths[at] -= given
                over -= given
        if over <= 0:
            return candidate.folded(widths), widths
    return None


def _text(cell: Cell, change: Callable[[str], str]) -> Cell:
    return cell if isinstance(cell, Bar) else change(cell)


def _width(cell: Cell) -> int:
    return BAR_WIDTH if isinstance(cell, Bar) else columns_of(cell)

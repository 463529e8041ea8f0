"""``flask llm usage``: the bill, as a table with bars or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from flask_llm.cli.drawing import show
from flask_llm.cli.group import (
    filtered,
    given,
    json_option,
    llm_cli,
    named_options,
    show_json,
)
from flask_llm.cli.tables import Bar, Cell, Column, Table
from flask_llm.cli.terminal import echo
from flask_llm.state import current_state
from flask_llm.usage import EVERYTHING, Report, read_query
from flask_llm.usage.reports import Line, usd


@llm_cli.command()
@click.option("--since", default="30d", show_default=True, help="Date, 7d, 24h, month.")
@click.option("--until", default="now", show_default=True, help="The same.")
@click.option("--tz", default="UTC", show_default=True, help="As in Europe/Kyiv.")
@click.option("--group-by", default="model", show_default=True, help="Comma list.")
@filtered
@click.option("--sort", default="cost_usd", show_default=True)
@click.option("--limit", default="20", show_default=True)
@json_option
def usage(*, as_json: bool, **parameters: Any) -> None:
    """Show what was used and what it cost."""
    with named_options():
        query = read_query(given(parameters))
        report = current_state().reports.run(query, EVERYTHING)
    if as_json:
        show_json(report.to_dict())
    else:
        show(_table(report))
        for remark in _remarks(report):
            echo(remark)


def _table(report: Report) -> Table:
    total = report.total
    names = report.query.group_by or ("",)
    columns = [Column(name, "name") for name in names]
    columns.append(Column("calls"))
    columns += [Column("failed", style="red")] * bool(total.failed)
    columns += [Column("unpriced", style="yellow")] * bool(total.unpriced)
    columns += [Column("tokens"), Column("USD"), Column("", "bar")]
    most = max([line.cost_nanos for line in report.groups], default=0)
    rows: list[list[Cell]] = [
        [
            *(line.group.get(name) or "-" for name in names),
            *_figures(line, total),
            Bar(line.cost_nanos / most if most else 0),
        ]
        for line in report.groups
    ]
    summed = ["total", *("" for _ in names[1:]), *_figures(total, total), ""]
    return Table(columns=columns, rows=rows, total=summed)


def _figures(line: Line, total: Line) -> list[str]:
    """Return the figures of a line; what never happened has no column."""
    return [
        f"{line.calls:,}",
        *([f"{line.failed:,}"] if total.failed else []),
        *([f"{line.unpriced:,}"] if total.unpriced else []),
        f"{line.input_tokens + line.output_tokens:,}",
        "unknown" if line.unpriced and not line.cost_nanos else usd(line.cost_nanos),
    ]


def _remarks(report: Report) -> Iterator[str]:
    total = report.total
    if report.truncated:
        yield "There are more groups, which the total counts; see --limit."
    if report.pending:
        yield f"Calls under way, which are in no figure yet: {report.pending:,}."
    if total.unpriced:
        yield f"{total.unpriced:,} calls have no known price and are not in the sum."
    if total.saved_nanos:
        yield f"The cache saved {usd(total.saved_nanos)} USD."
    if total.prompt_saved_nanos > 0:
        saved = usd(total.prompt_saved_nanos)
        yield f"The providers' prompt caches saved {saved} USD."
    if total.prompt_saved_nanos < 0:
        lost = usd(-total.prompt_saved_nanos)
        yield f"The providers' prompt caches cost {lost} USD more than none."

"""``flask llm usage``: the bill, as a table with bars or as JSON."""

from __future__ import annotations

import json

import click

from flask_llm.cli.group import llm_cli, named_options
from flask_llm.state import current_state
from flask_llm.usage import EVERYTHING, Report, read_query
from flask_llm.usage.reports import Line, usd

BAR_WIDTH = 24


@llm_cli.command()
@click.option("--since", default="30d", show_default=True, help="Date, 7d, 24h, month.")
@click.option("--until", default="now", show_default=True, help="The same.")
@click.option("--tz", default="UTC", show_default=True, help="As in Europe/Kyiv.")
@click.option("--group-by", default="model", show_default=True, help="Comma list.")
@click.option("--sort", default="cost_usd", show_default=True)
@click.option("--limit", default="20", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def usage(*, as_json: bool, **parameters: str) -> None:
    """Show what was used and what it cost."""
    with named_options():
        query = read_query(parameters.items())
        report = current_state().reports.run(query, EVERYTHING)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        click.echo("\n".join(_table(report)))


def _table(report: Report) -> list[str]:
    names = [
        " ".join(value or "-" for value in line.group.values())
        for line in report.groups
    ]
    width = max([len(name) for name in [*names, "total"]])
    most = max([line.cost_nanos for line in report.groups], default=0)
    lines = [f"{'':<{width}}  {'calls':>8} {'tokens':>12} {'USD':>16}"]
    for name, line in zip(names, report.groups, strict=True):
        bar = "█" * (round(BAR_WIDTH * line.cost_nanos / most) if most else 0)
        lines.append(f"{_cells(name, width, line)}  {bar}".rstrip())
    lines.append(_cells("total", width, report.total))
    return lines + _remarks(report.total)


def _cells(name: str, width: int, line: Line) -> str:
    tokens = line.input_tokens + line.output_tokens
    return f"{name:<{width}}  {line.calls:>8,} {tokens:>12,} {usd(line.cost_nanos):>16}"


def _remarks(total: Line) -> list[str]:
    remarks = []
    if total.unpriced:
        remarks.append(
            f"{total.unpriced:,} calls have no known price and are not in the sum."
        )
    if total.saved_nanos:
        remarks.append(f"The cache saved {usd(total.saved_nanos)} USD.")
    if total.prompt_saved_nanos > 0:
        saved = usd(total.prompt_saved_nanos)
        remarks.append(f"The providers' prompt caches saved {saved} USD.")
    if total.prompt_saved_nanos < 0:
        lost = usd(-total.prompt_saved_nanos)
        remarks.append(f"The providers' prompt caches cost {lost} USD more than none.")
    return remarks

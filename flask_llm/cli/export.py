"""``flask llm export``: single calls as CSV or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

import click

from flask_llm.cli.group import filtered, given, llm_cli, named_options
from flask_llm.cli.terminal import progress, shown
from flask_llm.state import current_state
from flask_llm.usage import EVERYTHING
from flask_llm.usage.reports import read_request_query
from flask_llm.usage.reports.csv import csv_lines
from flask_llm.usage.reports.requests import NAMES


@llm_cli.command()
@click.option("--since", default="30d", show_default=True, help="Date, 7d, 24h, month.")
@click.option("--until", default="now", show_default=True, help="The same.")
@click.option("--tz", default="UTC", show_default=True, help="As in Europe/Kyiv.")
@filtered
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv")
@click.option("--output", type=click.File("w", encoding="utf-8"), default="-")
def export(*, form: str, output: TextIO, **options: Any) -> None:
    """Write single calls to a file or to standard output, newest first."""
    with named_options():
        query = read_request_query(given(options), paged=False)
    batches = current_state().requests.every(query, EVERYTHING)
    with progress(batches, label="Thousands of rows", beside=output) as bar:
        written = csv_lines(NAMES.values(), bar) if form == "csv" else _json(bar)
        output.writelines(shown(lines, output) for lines in written)


def _json(batches: Iterable[Iterable[Mapping[str, Any]]]) -> Iterator[str]:
    for batch in batches:
        yield "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in batch)

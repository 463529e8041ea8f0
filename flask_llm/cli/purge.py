"""``flask llm purge``: delete old rows; what they come to stays in the reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import click

from flask_llm.cli.group import (
    confirmed,
    json_option,
    llm_cli,
    named_options,
    show_json,
)
from flask_llm.cli.terminal import echo, progress
from flask_llm.state import current_state
from flask_llm.usage import Purge
from flask_llm.usage.database import named_errors
from flask_llm.usage.reports.parameters import read_moment

YOUNGEST = timedelta(days=1)
"""Rows of the last day may still change: calls end late, and journals are replayed."""


@llm_cli.command()
@click.option("--before", required=True, help="A date, or an age as in 90d.")
@json_option
@confirmed("This deletes rows for good; their sums are kept. Go on?")
def purge(before: str, *, as_json: bool) -> None:
    """Delete the rows of settled calls that began BEFORE, in small batches."""
    now = datetime.now(UTC)
    state = current_state()
    with named_options():
        moment = read_moment("before", before, ZoneInfo("UTC"), now)
    if moment > now - YOUNGEST:
        raise click.UsageError(
            "--before: rows of the last day are kept; 1d is the least."
        )
    with named_errors():
        state.ledger.replay()
        state.ledger.sweep(now)
        work = Purge(state.database, moment)
        rows = 0
        with progress(length=work.count(), label="Rows") as bar:
            for deleted in work.run():
                rows += deleted
                bar.update(deleted)
    if as_json:
        show_json({"deleted": rows, "before": work.before.isoformat()})
    else:
        echo(f"{rows:,} rows from before {work.before.isoformat()} are deleted.")

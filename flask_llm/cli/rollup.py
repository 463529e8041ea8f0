"""``flask llm rollup``: the sums that reports read, looked at and made anew."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from flask_llm.cli.group import json_option, llm_cli, show_json
from flask_llm.cli.terminal import echo, progress
from flask_llm.state import current_state
from flask_llm.usage import Rebuild, marks
from flask_llm.usage.database import named_errors


@llm_cli.command()
@click.option("--rebuild", is_flag=True, help="Make the sums anew from the rows.")
@json_option
def rollup(*, rebuild: bool, as_json: bool) -> None:
    """Show how far the sums reach that reports read, or make them anew.

    They are made in small batches, beside workers at work. After an upgrade from a
    release without them, wait until all workers run the new one.
    """
    state = current_state()
    with named_errors():
        if rebuild:
            work = Rebuild(state.database, datetime.now(UTC))
            weeks = work.weeks()
            with progress(weeks, label="Weeks") as bar:
                for week in bar:
                    work.week(week)
            work.finish()
        with state.database.begin() as connection:
            known = marks.read(connection)
    if as_json:
        show_json(_json(known))
    else:
        echo(_reach(known))


def _json(known: marks.Marks) -> dict[str, Any]:
    since = None if known.counts_all else known.rollup
    return {
        "counts_all": known.counts_all,
        "counts_since": since and since.isoformat(),
        "purged_before": known.purged and known.purged.isoformat(),
    }


def _reach(known: marks.Marks) -> str:
    if known.rollup is None:
        return (
            "No row before the upgrade is in the sums; run: flask llm rollup --rebuild"
        )
    purged = (
        f" Rows before {known.purged.isoformat()} are purged." if known.purged else ""
    )
    if not known.counts_all:
        return (
            f"Every row since {known.rollup.isoformat()} is in the sums, older ones "
            f"are not; run: flask llm rollup --rebuild{purged}"
        )
    return f"Every row is in the sums.{purged}"

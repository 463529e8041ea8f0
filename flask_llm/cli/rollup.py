"""``flask llm rollup``: the sums that reports read, looked at and made anew."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from flask_llm.cli.group import llm_cli
from flask_llm.state import State, current_state
from flask_llm.usage import Rebuild, marks
from flask_llm.usage.database import named_errors


@llm_cli.command()
@click.option("--rebuild", is_flag=True, help="Make the sums anew from the rows.")
def rollup(*, rebuild: bool) -> None:
    """Show how far the sums reach that reports read, or make them anew.

    They are made in small batches, beside workers at work. After an upgrade from a
    release without them, wait until all workers run the new one.
    """
    state = current_state()
    with named_errors():
        if rebuild:
            work = Rebuild(state.database, datetime.now(UTC))
            weeks = work.weeks()
            with click.progressbar(weeks, label="Weeks", file=sys.stderr) as bar:
                for week in bar:
                    work.week(week)
            work.finish()
        click.echo(_reach(state))


def _reach(state: State) -> str:
    with state.database.begin() as connection:
        known = marks.read(connection)
    if known.rollup is None:
        return (
            "No row before the upgrade is in the sums; run: flask llm rollup --rebuild"
        )
    purged = (
        f" Rows before {known.purged.isoformat()} are purged." if known.purged else ""
    )
    if known.rollup.year > 1970:  # noqa: PLR2004 - the epoch stands for always
        return (
            f"Every row since {known.rollup.isoformat()} is in the sums, older ones "
            f"are not; run: flask llm rollup --rebuild{purged}"
        )
    return f"Every row is in the sums.{purged}"

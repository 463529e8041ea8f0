"""``flask llm db``: create, upgrade and take down the tables."""

from __future__ import annotations

from typing import Any

import click

from flask_llm.cli.group import Group, confirmed, json_option, llm_cli, show_json
from flask_llm.state import current_state
from flask_llm.usage.database import named_errors
from flask_llm.usage.models import REVISION


class _DatabaseGroup(Group):
    """Says in one line that the database is not there."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with named_errors():
            return super().invoke(ctx)


db_cli = _DatabaseGroup("db", help="The tables of flask_llm, beside the app's own.")
llm_cli.add_command(db_cli)


@db_cli.command()
@click.argument("revision", default="head")
def upgrade(revision: str) -> None:
    """Create the tables, or bring them up to REVISION."""
    database = current_state().database
    database.migrations().upgrade(database.engine, revision)
    click.echo(f"The llm_ tables are at revision {database.revision()}.")


@db_cli.command()
@click.argument("revision", default="-1")
@confirmed("This drops tables and what is in them. Go on?")
def downgrade(revision: str) -> None:
    """Take the tables down to REVISION, one step by default; "base" drops them."""
    database = current_state().database
    database.migrations().downgrade(database.engine, revision)
    click.echo(f"The llm_ tables are at revision {database.revision() or 'base'}.")


@db_cli.command()
@json_option
def current(*, as_json: bool) -> None:
    """Show the revision that the tables are at."""
    found = current_state().database.revision()
    if as_json:
        # A newer one will do: a release can be taken back.
        is_enough = found is not None and found >= REVISION
        show_json({"revision": found, "needed": REVISION, "is_enough": is_enough})
    else:
        click.echo(found or "base (no tables)")


@db_cli.command()
@click.argument("revision", default="head")
def sql(revision: str) -> None:
    """Print the statements of an upgrade from nothing, to be run by hand."""
    database = current_state().database
    click.echo(database.migrations().sql(database.engine, revision))

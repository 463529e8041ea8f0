"""The command: all checks, one after the other."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from flask import Flask, current_app

from flask_llm.cli.doctor import access, books, clocks, models, workers
from flask_llm.cli.doctor.check import BAD, Check, Look, Setup
from flask_llm.cli.group import llm_cli
from flask_llm.state import current_state
from flask_llm.usage.database import named_errors

CHECKS: tuple[Look, ...] = (
    books.tables,
    books.journal,
    books.rollup,
    models.keys,
    models.retirement,
    models.prices,
    models.price_table,
    models.budgets,
    workers.redis,
    workers.memory,
    workers.lent_storages,
    workers.streaming,
    workers.patching,
    clocks.database,
    clocks.redis,
    access.token,
    access.proxy,
    access.browsers,
)


@llm_cli.command()
@click.option("--replay", is_flag=True, help="Write the rows that the journal kept.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.pass_context
def doctor(context: click.Context, *, replay: bool, as_json: bool) -> None:
    """Check the set-up; exit with 1 where something is to be mended."""
    state = current_state()
    replayed = None
    if replay:
        with named_errors():
            replayed = state.ledger.replay()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    setup = Setup(
        app=app,
        state=state,
        environ=os.environ,
        folder=Path.cwd(),
        now=lambda: datetime.now(UTC),
    )
    found = [check for look in CHECKS for check in look(setup)]
    is_well = all(check.level != BAD for check in found)
    if as_json:
        checks = [asdict(check) | {"level": check.level.lower()} for check in found]
        shown = {"ok": is_well, "replayed": replayed, "checks": checks}
        click.echo(json.dumps(shown, indent=2))
    else:
        if replayed is not None:
            click.echo(f"{replayed} rows written from the journal.")
        click.echo("\n".join(_line(check) for check in found))
    context.exit(0 if is_well else 1)


def _line(check: Check) -> str:
    line = f"{check.level:<4} {check.name:<14} {check.text}"
    return f"{line}\n{'':<20}Cure: {check.cure}" if check.cure else line

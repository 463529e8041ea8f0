"""The command: all checks, one after the other."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from flask import Flask, current_app

from flask_llm.cli.doctor import access, books, clocks, models, workers
from flask_llm.cli.doctor.check import BAD, HINT, OK, Check, Look, Setup
from flask_llm.cli.group import json_option, llm_cli, show_json
from flask_llm.cli.terminal import echo, harmless, room, styled
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
@json_option
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
        show_json(shown)
    else:
        if replayed is not None:
            echo(f"{replayed} rows written from the journal.")
        for check in found:
            _show(check)
        echo(_summary(found))
    context.exit(0 if is_well else 1)


COLOURS = {OK: "green", HINT: "yellow", BAD: "red"}
INDENT = 18


def _show(check: Check) -> None:
    colour, is_bad = COLOURS[check.level], check.level == BAD
    level = styled(f"{check.level:<4}", fg=colour, bold=is_bad)
    first, *rest = _wrapped(check.text)
    echo(f"{level} {check.name:<{INDENT - 7}} {first}")
    cure = _wrapped(f"Cure: {check.cure}") if check.cure else []
    for line in [*rest, *cure]:
        echo(" " * INDENT + line)


def _wrapped(text: str) -> list[str]:
    """Return a text in lines that a terminal has room for, words whole."""
    columns = room()
    if columns is None:
        return [harmless(text)]
    return textwrap.wrap(
        harmless(text),
        max(columns - INDENT, 24),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _summary(found: list[Check]) -> str:
    many = Counter(check.level for check in found)
    said = f"{many[BAD]} to mend, {many[HINT]} to know, {many[OK]} fine."
    return styled(said, fg="red" if many[BAD] else "green", bold=True)

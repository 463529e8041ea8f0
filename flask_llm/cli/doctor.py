"""``flask llm doctor``: what is wrong with the set-up, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import click

from flask_llm.cli.group import llm_cli
from flask_llm.errors import LLMError
from flask_llm.guards.shared import Down
from flask_llm.state import State, current_state
from flask_llm.usage.database import named_errors


class Check(NamedTuple):
    """One thing looked at."""

    good: bool
    text: str


@llm_cli.command()
@click.option("--replay", is_flag=True, help="Write the rows that the journal kept.")
@click.pass_context
def doctor(context: click.Context, *, replay: bool) -> None:
    """Check the set-up; exit with 1 where something is wrong."""
    state = current_state()
    if replay:
        click.echo(f"{state.ledger.replay()} rows written from the journal.")
    checks = list(_checks(state))
    for check in checks:
        click.echo(f"{'ok ' if check.good else 'BAD'} {check.text}")
    context.exit(0 if all(check.good for check in checks) else 1)


def _checks(state: State) -> Iterator[Check]:
    yield _tables(state)
    yield _journal(state)
    yield _key(state)
    yield _model(state)
    yield _shared(state)
    yield _price(state)
    yield _reports(state)


def _tables(state: State) -> Check:
    try:
        with named_errors():
            state.database.prepare()
    except LLMError as error:
        return Check(good=False, text=error.message)
    return Check(good=True, text="The tables are there.")


def _journal(state: State) -> Check:
    if state.ledger.journal:
        return Check(
            good=False, text="Rows wait in the journal; run: flask llm doctor --replay"
        )
    return Check(good=True, text="No rows wait in the journal.")


def _key(state: State) -> Check:
    try:
        provider, _ = state.client.providers.resolve(state.settings.model)
        provider.check_ready()
    except LLMError as error:
        return Check(good=False, text=error.message)
    return Check(good=True, text=f"{provider.name} has what it needs.")


def _model(state: State) -> Check:
    today = datetime.now(UTC).date()
    notice = state.prices.retirement_notice(state.settings.model, today)
    if notice:
        return Check(good=False, text=f"{notice} Set LLM_MODEL to a current model.")
    return Check(good=True, text=f"{state.settings.model} is not about to be retired.")


def _shared(state: State) -> Check:
    if state.shared is None:
        return Check(
            good=True,
            text="Each process counts quotas, slots and kept answers by itself; for "
            "more than one worker set LLM_REDIS_URL.",
        )
    try:
        state.shared.run("return 1", [])
    except Down as error:
        reason = type(error.__cause__).__name__
        return Check(good=False, text=f"LLM_REDIS_URL cannot be reached ({reason}).")
    return Check(good=True, text="Redis is there.")


def _price(state: State) -> Check:
    model = state.settings.model
    known = state.prices.explain(model).source != "none"
    if known or not state.settings.budgets or state.settings.unknown_price == "allow":
        return Check(good=True, text="No budget stands in the way of the model.")
    return Check(
        good=False,
        text=f"LLM_BUDGETS refuses {model}, whose price is not known: add it to "
        "LLM_PRICES, or set LLM_UNKNOWN_PRICE='allow'.",
    )


def _reports(state: State) -> Check:
    if state.settings.reports_token or state.hooks.authorizer:
        return Check(good=True, text="The reports open for whoever may see them.")
    return Check(
        good=False,
        text="The reports are closed to all; set LLM_REPORTS_TOKEN or register a "
        "function with @llm.reports_authorizer.",
    )

"""``flask llm budgets``: where each budget stands, as meters or as JSON."""

from __future__ import annotations

import json
from typing import Any

import click

from flask_llm.cli.group import given, llm_cli, named_options
from flask_llm.guards import BudgetState
from flask_llm.guards.standings import BudgetLine, budget_lines, read_budget_query
from flask_llm.state import current_state
from flask_llm.usage import EVERYTHING

METER_WIDTH = 24


@llm_cli.command()
@click.option(
    "--per", multiple=True, help="Budgets per user, per tenant and so on only."
)
@click.option("--subject", multiple=True, help="This user, tenant and so on only.")
@click.option("--limit", default="20", show_default=True, help="Subjects of a budget.")
@click.option("--json", "as_json", is_flag=True, help="Print the budgets as JSON.")
def budgets(*, as_json: bool, **options: Any) -> None:
    """Show limit, spent, reserved and left of each budget."""
    state = current_state()
    with named_options():
        query = read_budget_query(given(options))
    lines = list(budget_lines(state.budgets, state.ledger, query, EVERYTHING))
    if as_json:
        shown = {"budgets": [line.to_dict() for line in lines]}
        click.echo(json.dumps(shown, indent=2))
    elif not lines:
        click.echo("There is no such budget; see LLM_BUDGETS.")
    else:
        click.echo("\n".join(text for line in lines for text in _table(line)))


def _table(line: BudgetLine) -> list[str]:
    names = [state.subject or "-" for state in line.states]
    width = max([len(name) for name in [*names, "total"]])
    head = [f"{line.budget.text}"]
    rows = [
        f"  {name:<{width}}  {_meter(state)}  ${state.spent_usd:f} of "
        f"${state.limit_usd:f}, ${state.reserved_usd:f} reserved, ${state.left_usd:f} "
        f"left until {state.resets_at.isoformat()}"
        for name, state in zip(names, line.states, strict=True)
    ]
    return head + (rows or ["  nothing spent yet"]) + ["  …"] * line.truncated


def _meter(state: BudgetState) -> str:
    taken = state.spent_usd + state.reserved_usd
    share = min(1.0, float(taken / state.limit_usd)) if state.limit_usd else 1.0
    full = round(METER_WIDTH * share)
    return "█" * full + "░" * (METER_WIDTH - full)

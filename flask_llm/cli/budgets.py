"""``flask llm budgets``: where each budget stands, as meters or as JSON."""

from __future__ import annotations

from typing import Any

import click

from flask_llm.cli.drawing import show
from flask_llm.cli.group import given, json_option, llm_cli, named_options, show_json
from flask_llm.cli.tables import Bar, Cell, Column, Table
from flask_llm.cli.terminal import echo, styled
from flask_llm.guards import BudgetState
from flask_llm.guards.standings import BudgetLine, budget_lines, read_budget_query
from flask_llm.state import current_state
from flask_llm.usage import EVERYTHING


@llm_cli.command()
@click.option(
    "--per", multiple=True, help="Budgets per user, per tenant and so on only."
)
@click.option("--subject", multiple=True, help="This user, tenant and so on only.")
@click.option("--limit", default="20", show_default=True, help="Subjects of a budget.")
@json_option
def budgets(*, as_json: bool, **options: Any) -> None:
    """Show limit, spent, reserved and left of each budget."""
    state = current_state()
    with named_options():
        query = read_budget_query(given(options))
    lines = list(budget_lines(state.budgets, state.ledger, query, EVERYTHING))
    if as_json:
        show_json({"budgets": [line.to_dict() for line in lines]})
    elif not lines:
        echo("There is no such budget; see LLM_BUDGETS.")
    else:
        for line in lines:
            _show(line)


def _show(line: BudgetLine) -> None:
    columns = [
        Column(line.budget.scope, "name"),
        Column("", "bar"),
        *(Column(name) for name in ("spent", "reserved", "left", "limit")),
        Column("resets at", "name"),
    ]
    rows: list[list[Cell]] = [
        [
            state.subject or "-",
            _meter(state),
            *(
                f"{usd:f}"
                for usd in (
                    state.spent_usd,
                    state.reserved_usd,
                    state.left_usd,
                    state.limit_usd,
                )
            ),
            state.resets_at.isoformat(timespec="minutes"),
        ]
        for state in line.states
    ]
    if rows:
        show(Table(columns=columns, rows=rows, title=line.budget.text))
    else:
        echo(f"{styled(line.budget.text, bold=True)}: nothing spent yet.")
    if line.truncated:
        echo("There are more; see --limit.")
    echo()


def _meter(state: BudgetState) -> Bar:
    if not state.limit_usd:
        return Bar(1.0, is_meter=True)
    spent, reserved = (
        float(usd / state.limit_usd) for usd in (state.spent_usd, state.reserved_usd)
    )
    return Bar(spent, reserved, is_meter=True)

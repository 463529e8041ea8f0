"""``flask llm prices``: what a model costs, and how that is known."""

from __future__ import annotations

import click

from flask_llm.cli.group import llm_cli
from flask_llm.pricing import Explanation, Rate
from flask_llm.state import current_state


@llm_cli.command()
@click.argument("model", required=False)
def prices(model: str | None) -> None:
    """Show the price of MODEL (LLM_MODEL by default) and the rule that gave it."""
    state = current_state()
    provider, name = state.client.providers.resolve(model or state.settings.model)
    found = state.prices.explain(f"{provider.name}/{name}")
    click.echo(_head(found))
    for basis, rates in found.rates.items():
        click.echo(f"  {basis}")
        for rate in rates:
            click.echo(f"    {_rate(rate)}")


def _head(found: Explanation) -> str:
    if found.rule is None:
        return (
            f"{found.model}: the price is not known ({found.prices_version}). Its "
            "calls count as unpriced until LLM_PRICES says what they cost."
        )
    facts = [f"{found.model}: {found.rule}, {found.source}, {found.prices_version}"]
    if found.changes_on:
        facts.append(f"changes on {found.changes_on}")
    if found.retires_on:
        facts.append(f"retires on {found.retires_on}")
    return "; ".join(facts)


def _rate(rate: Rate) -> str:
    unit = "1,000 searches" if rate.name == "web_search" else "1M tokens"
    text = f"{rate.name:<18} ${rate.usd:f} per {unit}"
    for tokens, usd in rate.above:
        text += f", ${usd:f} above {tokens:,} input tokens"
    return text

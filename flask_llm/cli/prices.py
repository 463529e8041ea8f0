"""``flask llm prices``: what a model costs, and how that is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from flask_llm.cli.drawing import show
from flask_llm.cli.group import json_option, llm_cli, show_json
from flask_llm.cli.tables import Column, Table
from flask_llm.cli.terminal import echo, harmless, styled
from flask_llm.pricing import Explanation, Rate
from flask_llm.state import current_state


@llm_cli.command()
@click.argument("model", required=False)
@json_option
def prices(model: str | None, *, as_json: bool) -> None:
    """Show the price of MODEL (LLM_MODEL by default) and the rule that gave it."""
    state = current_state()
    provider, name = state.client.providers.resolve(model or state.settings.model)
    found = state.prices.explain(f"{provider.name}/{name}")
    if as_json:
        show_json(_json(found))
        return
    echo(f"{styled(harmless(found.model), bold=True)}: {harmless(_facts(found))}")
    if found.rates:
        show(_table(found))


def _facts(found: Explanation) -> str:
    if found.rule is None:
        return (
            f"the price is not known ({found.prices_version}). Its "
            "calls count as unpriced until LLM_PRICES says what they cost."
        )
    facts = [f"{found.rule}, {found.source}, {found.prices_version}"]
    if found.changes_on:
        facts.append(f"changes on {found.changes_on}")
    if found.retires_on:
        facts.append(f"retires on {found.retires_on}")
    return "; ".join(facts)


def _table(found: Explanation) -> Table:
    return Table(
        columns=[
            Column("basis", "name"),
            Column("of", "name"),
            Column("USD"),
            Column("per", "name"),
            Column("above input tokens"),
        ],
        rows=[
            [basis, rate.name, f"{usd:f}", _unit(rate), f"{above:,}" if above else ""]
            for basis, rates in found.rates.items()
            for rate in rates
            for above, usd in ((0, rate.usd), *rate.above)
        ],
    )


def _unit(rate: Rate) -> str:
    return "1,000 searches" if rate.name == "web_search" else "1M tokens"


def _json(found: Explanation) -> dict[str, Any]:
    return {
        "model": found.model,
        "source": found.source,
        "rule": found.rule,
        "prices_version": found.prices_version,
        "changes_on": found.changes_on and found.changes_on.isoformat(),
        "retires_on": found.retires_on and found.retires_on.isoformat(),
        "rates": {basis: list(_rates(rates)) for basis, rates in found.rates.items()},
    }


def _rates(rates: tuple[Rate, ...]) -> Iterator[dict[str, Any]]:
    for rate in rates:
        yield {
            "name": rate.name,
            "usd": f"{rate.usd:f}",
            "per": _unit(rate),
            "above": [
                {"input_tokens": tokens, "usd": f"{usd:f}"}
                for tokens, usd in rate.above
            ],
        }

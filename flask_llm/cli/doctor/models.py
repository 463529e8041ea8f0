"""Checks of the models that settings name: keys, dates, prices, room in budgets."""

from __future__ import annotations

from collections.abc import Iterator

from flask_llm.cli.doctor.check import BAD, HINT, OK, Check, Setup
from flask_llm.errors import LLMError
from flask_llm.settings import Settings

TABLE_DAYS = 90
"""Age at which the bundled prices are called old."""


def keys(setup: Setup) -> Iterator[Check]:
    """See that each provider that settings name has its key; none is shown."""
    seen = set()
    named = setup.state.settings.models.items()
    # An app that embeds nothing needs no key for what it never set.
    for model, key in sorted(named, key=_is_default):
        provider, _ = setup.state.client.providers.resolve(model)
        if provider.name in seen:
            continue
        seen.add(provider.name)
        try:
            provider.check_ready()
        except LLMError as error:
            level = HINT if _is_default((model, key)) else BAD
            cure = f"Set it, or name a model of another provider in {key}."
            yield Check("keys", level, error.message, cure)
        else:
            yield Check("keys", OK, f"{provider.name} has what it needs.")


def _is_default(named: tuple[str, str]) -> bool:
    model, key = named
    defaults = {each.key: each.default for each in Settings.describe()}
    return key == "LLM_EMBED_MODEL" and model == defaults[key]


def retirement(setup: Setup) -> Iterator[Check]:
    """See that no model is gone, or about to be."""
    today = setup.now().date()
    for model, key in setup.state.settings.models.items():
        notice = setup.state.prices.retirement_notice(model, today)
        if notice:
            cure = f"Set {key} to a current model."
            yield Check("retirement", BAD, notice, cure)
        else:
            yield Check("retirement", OK, f"{model} is not about to be retired.")


def prices(setup: Setup) -> Iterator[Check]:
    """See that the price of each model is known, above all where budgets need it."""
    settings = setup.state.settings
    unknown = [
        model
        for model in settings.models
        if setup.state.prices.explain(model).source == "none"
    ]
    refused = settings.budgets and settings.unknown_price == "block"
    for model in unknown:
        yield Check(
            "prices",
            BAD if refused else HINT,
            f"LLM_BUDGETS refuses {model}, whose price is not known."
            if refused
            else f"The price of {model} is not known: its calls count as unpriced.",
            "Add it to LLM_PRICES"
            + (", or set LLM_UNKNOWN_PRICE='allow'." if refused else "."),
        )
    if not unknown:
        yield Check("prices", OK, "The price of each model is known.")


def price_table(setup: Setup) -> Iterator[Check]:
    """See that the bundled prices are not old."""
    made = setup.state.prices.table_date
    days = (setup.now().date() - made).days
    text = f"The bundled prices are of {made.isoformat()}."
    if days > TABLE_DAYS:
        cure = "pip install --upgrade flask-llm, or correct them in LLM_PRICES."
        yield Check("price table", HINT, text, cure)
    else:
        yield Check("price table", OK, text)


def budgets(setup: Setup) -> Iterator[Check]:
    """See that a call with the default max_tokens fits into each budget at all."""
    state = setup.state
    for model, key in state.settings.models.items():
        if key == "LLM_EMBED_MODEL":
            continue
        most = state.settings.max_tokens
        cost = state.prices.ceiling(model, input_tokens=0, output_tokens=most)
        for budget in state.settings.budgets:
            if cost.usd is not None and cost.usd > budget.limit_usd:
                yield Check(
                    "budgets",
                    BAD,
                    f"An answer of {model} may cost ${cost.usd:f}, more than all of "
                    f"{budget.text!r}: calls that set no max_tokens are refused.",
                    "Lower LLM_MAX_TOKENS, or raise the budget.",
                )

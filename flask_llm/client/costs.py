"""What an answer cost: the provider's own figure, our prices, then the table."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from flask_llm.chat import Completion, Embeddings
from flask_llm.pricing import Cost, Prices


def cost_of(
    prices: Prices,
    model: str,
    answer: Completion | Embeddings,
    *,
    at: datetime | None = None,
    batch: bool = False,
) -> Cost:
    """Price an answer.

    An alias or a router's name often has no price where the model that served has.

    :param model: as asked for, ``provider/model``.
    :param at: when it was asked; now by default.
    :param batch: whether it came in a batch.
    """
    if answer.cost_source == "provider":
        return known(answer.cost_usd, "provider")
    names = [model]
    if answer.served_model:
        names.append(f"{model.partition('/')[0]}/{answer.served_model}")
    costs = (
        prices.cost(
            name, answer.usage, at=at, service_tier=answer.service_tier, batch=batch
        )
        for name in names
    )
    first = next(costs)
    if first.usd is not None:
        return first
    return next(costs, first)


def known(usd: Decimal | None, source: str = "none") -> Cost:
    """Return a cost that is known from elsewhere."""
    return Cost(usd=usd, source=source, basis="", prices_version="")

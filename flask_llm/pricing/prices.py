"""The prices of an app: the built-in table, under the app's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cache, lru_cache
from os import PathLike
from typing import Any, Self

from flask_llm.chat import Usage
from flask_llm.pricing.overrides import Overrides
from flask_llm.pricing.rules import BASES, STANDARD, Rates, Rule, amount, dearest
from flask_llm.pricing.table import table

# Scaling to nano-dollars must not round in the host's decimal context.
_NANOS = Context(prec=60, rounding=ROUND_HALF_UP)

_BASIS = {basis: basis for basis in BASES} | dict.fromkeys(
    ("", "default", "auto", "standard_only", "on_demand", "unspecified"), STANDARD
)
"""What providers call their tiers. Anthropic's ``speed: fast`` is passed as the tier
``fast``. Its ``priority`` tier draws on capacity paid for in advance, so no price is
listed and the cost is unknown unless ``LLM_PRICES`` says what it is worth. The same
goes for ``scale``, ``ultrafast`` and provisioned throughput, which are not here."""


NOTICE_DAYS = 90
"""How long ahead a model's retirement is spoken of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a call cost, and how that is known."""

    usd: Decimal | None
    """None where it is not known; never 0 for want of a price."""
    source: str
    """``table``, ``config`` (from ``LLM_PRICES``) or ``none``."""
    basis: str
    """``standard``, ``batch``, ``flex``, ``priority``, ``fast``; ``unknown`` for a
    tier that no price is known for by that name."""
    prices_version: str
    uncached_usd: Decimal | None = None
    """What it would have cost with no prompt cache at the provider."""

    @property
    def nanos(self) -> int | None:
        """Billionths of a dollar, rounded half up; None where unknown."""
        return None if self.usd is None else _nanos(self.usd)

    @property
    def prompt_saved_nanos(self) -> int | None:
        """What the provider's prompt cache saved, less what writing to it cost.

        Below zero where more was written than read; None where unknown.
        """
        if self.usd is None or self.uncached_usd is None:
            return None
        return _nanos(_NANOS.subtract(self.uncached_usd, self.usd))


def _nanos(usd: Decimal) -> int:
    return int(usd.scaleb(9, _NANOS).to_integral_value(context=_NANOS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One price of a model."""

    name: str
    """Of what: ``input``, ``output``, ``cache_read``, …"""
    usd: Decimal
    """Per million tokens; ``web_search``: per thousand searches."""
    above: tuple[tuple[int, Decimal], ...] = ()
    """Input tokens beyond which the whole call costs another price, and that price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a model costs what it costs."""

    model: str
    source: str
    """``table``, ``config`` or ``none``."""
    rule: str | None
    """The entry that the model was found by; None where there is none."""
    rates: Mapping[str, tuple[Rate, ...]]
    """Rates by basis. A rate that is missing is the one it is a part of:
    ``cache_read`` costs as much as ``input`` where it has no price of its own."""
    changes_on: date | None
    """The next day on which one of these rates changes."""
    retires_on: date | None
    """The day on which the provider stops serving the model."""
    prices_version: str


class Prices:
    """What models cost. Immutable; share one between threads."""

    def __init__(self, overrides: Overrides) -> None:
        self._overrides = overrides
        # Bounded, because model names can come from outside.
        self._rule = lru_cache(maxsize=1024)(self._find)

    @classmethod
    def load(
        cls, overrides: Mapping[str, Any] | str | PathLike[str] | None = None
    ) -> Self:
        """Check the app's own prices and put them before the built-in table.

        :param overrides: ``LLM_PRICES``: a dict, or the path of a JSON file.
        """
        return cls(Overrides(overrides))

    @property
    def version(self) -> str:
        """Which prices these are: the table's version, and a mark of one's own."""
        own = self._overrides.version
        return f"{table().version} config {own}" if own else table().version

    @property
    def table_date(self) -> date:
        """The day on which the built-in table was made."""
        return table().generated

    def cost(
        self,
        model: str,
        usage: Usage,
        *,
        at: datetime | None = None,
        service_tier: str | None = None,
        batch: bool = False,
    ) -> Cost:
        """Return what usage of a model costs.

        :param model: ``provider/model``; everything behind the first slash is the
            model's name. A name that is not listed costs ``None``, however similar.
        :param at: when the call was made; now by default, naive means UTC.
        :param service_tier: the tier that the provider *reports*, in its own words.
        :param batch: whether the call ran in a batch, which responses do not say.
        """
        rule = self._rule(model)
        basis = _basis(service_tier, batch=batch)
        rates = rule.rates(basis, at) if rule else None
        usd = amount(usage, rates) if rates is not None else None
        return self._of(rule, basis, usd, _uncached(usage, rates, usd))

    def ceiling(
        self,
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        service_tier: str | None = None,
        hour_cache: bool = False,
        batch: bool = False,
    ) -> Cost:
        """Return what a call can cost at most, at the dearest price that may apply.

        All of the input may be written to a cache, all of the output may be reasoning,
        and a call may be served at the standard tier whatever it asked for.

        :param service_tier: the tier that is asked for.
        :param hour_cache: whether it may ask for a cache that lasts an hour.
        :param batch: whether it runs in a batch, and at a batch's prices.
        """
        written = "cache_write_1h" if hour_cache else "cache_write"
        parts: dict[tuple[str, ...], int] = {
            ("input", written): input_tokens,
            ("output", "reasoning"): output_tokens,
        }
        rule = self._rule(model)
        costs = []
        for tier in {service_tier, None}:
            basis = _basis(tier, batch=batch)
            rates = rule.rates(basis) if rule else None
            usd = None if rates is None else dearest(parts, input_tokens, rates)
            costs.append(self._of(rule, basis, usd))
        unknown = [cost for cost in costs if cost.usd is None]
        return unknown[0] if unknown else max(costs, key=lambda cost: cost.usd or 0)

    def explain(self, model: str, at: datetime | None = None) -> Explanation:
        """Return the rule and the rates that a model is priced by."""
        rule = self._rule(model)
        known = {basis: rule.rates(basis, at) for basis in BASES} if rule else {}
        return Explanation(
            model=model,
            source=rule.source if rule else "none",
            rule=rule.name if rule else None,
            rates={basis: _listed(rates) for basis, rates in known.items() if rates},
            changes_on=rule.changes_on(at) if rule else None,
            retires_on=self.retires_on(model),
            prices_version=self.version,
        )

    def retires_on(self, model: str) -> date | None:
        """Return the day on which the provider stops serving a model, if named."""
        provider, _, name = model.lower().partition("/")
        return table().retires_on(provider, name)

    def retirement_notice(self, model: str, today: date) -> str | None:
        """Return a sentence where a model is gone, or will be within 90 days."""
        gone = self.retires_on(model)
        if gone is None or (gone - today).days > NOTICE_DAYS:
            return None
        verb = "was retired" if gone <= today else "retires"
        return f"{model} {verb} on {gone.isoformat()}."

    def _of(
        self,
        rule: Rule | None,
        basis: str,
        usd: Decimal | None,
        uncached_usd: Decimal | None = None,
    ) -> Cost:
        return Cost(
            usd=usd,
            source=rule.source if rule and usd is not None else "none",
            basis=basis,
            prices_version=self.version,
            uncached_usd=uncached_usd,
        )

    def _find(self, model: str) -> Rule | None:
        name = model.lower()
        return self._overrides.rule(name) or table().rule(*_split(name))


def cost(
    model: str,
    usage: Usage,
    *,
    at: datetime | None = None,
    service_tier: str | None = None,
    batch: bool = False,
    prices: Prices | None = None,
) -> Cost:
    """Return what usage of a model costs, by the built-in prices or others.

    The parameters are those of :meth:`Prices.cost`.
    """
    book = prices or _built_in()
    return book.cost(model, usage, at=at, service_tier=service_tier, batch=batch)


@cache
def _built_in() -> Prices:
    return Prices.load()


def _split(model: str) -> tuple[str, str]:
    provider, _, name = model.partition("/")
    return provider, name


def _basis(service_tier: str | None, *, batch: bool) -> str:
    tier = str(service_tier or "").lower().removeprefix("service_tier_")
    basis = _BASIS.get(tier, "unknown")
    if batch and basis == STANDARD:
        return "batch"
    return basis if not batch or basis == "batch" else "unknown"


def _uncached(usage: Usage, rates: Rates | None, usd: Decimal | None) -> Decimal | None:
    """Price the same usage as if all of the input had been read afresh."""
    if rates is None or not (usage.cache_read_tokens or usage.cache_write_tokens):
        return usd
    fresh = replace(
        usage, cache_read_tokens=0, cache_write_tokens=0, cache_write_1h_tokens=0
    )
    return amount(fresh, rates)


def _listed(rates: Rates) -> tuple[Rate, ...]:
    return tuple(
        Rate(name=name, usd=price[0][1], above=price[1:])
        for name, price in rates.items()
    )

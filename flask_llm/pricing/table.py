"""The built-in table: ``prices.json``, and what a model's name means in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

from flask_llm.pricing.rules import Price, Rates, Rule, When

_DATED = re.compile(
    r"(.+)([-@])(20\d\d)(-?)(0[1-9]|1[0-2])\4(0[1-9]|[12]\d|3[01])", re.DOTALL
)
_SHORT = re.compile(r"(.+)-(?:\d{3,4}|\d\d-\d\d)", re.DOTALL)


@dataclass(slots=True)
class _Names:
    """What the names of one provider mean: rows of the file."""

    fallbacks: list[str]
    """Other providers whose models this one serves at their prices."""
    exact: dict[str, Any] = field(default_factory=dict)
    versioned: dict[str, Any] = field(default_factory=dict)
    """Names that stand for all their versions."""
    prefixes: dict[str, Any] = field(default_factory=dict)
    """Beginnings behind which a name of the customer's own may follow."""

    def row(self, name: str) -> Any:
        """Return the row that a name means, by the rules of genai-prices."""
        if name in self.exact:
            return self.exact[name]
        for pattern in (_DATED, _SHORT):
            found = pattern.fullmatch(name)
            if found and found[1] in self.versioned:
                return self.versioned[found[1]]
        rows = (r for prefix, r in self.prefixes.items() if name.startswith(prefix))
        return next(rows, None)


@dataclass(frozen=True, slots=True)
class Table:
    """All built-in prices."""

    version: str
    generated: date
    """When it was made."""
    providers: Mapping[str, _Names]
    retires: Mapping[str, Mapping[str, str]]

    def rule(self, provider: str, name: str) -> Rule | None:
        """Return the rule for a model of exactly this name, dated or not."""
        for owner, row in self._candidates(provider, name):
            if row:
                # A reseller's discounts are its own, so they are not borrowed.
                tiers = row.get("tiers", ()) if owner == provider else ()
                label = next(iter(row.get("names") or row.get("prefixes") or (name,)))
                return _rule(f"{owner}/{label}", row["prices"], tiers)
        return None

    def retires_on(self, provider: str, name: str) -> date | None:
        """Return the day on which a provider stops serving a model."""
        days = self.retires.get(provider, {})
        dated = _DATED.fullmatch(name)
        day = days.get(name) or (dated and days.get(dated[1]))
        return date.fromisoformat(day) if day else None

    def _candidates(self, provider: str, name: str) -> Iterator[tuple[str, Any]]:
        if provider not in self.providers:
            return
        owners = (provider, *self.providers[provider].fallbacks)
        dated = _DATED.fullmatch(name)
        # Resellers write -20251211 where the maker wrote -2025-12-11.
        names = [name, "{0}{1}{2}-{4}-{5}".format(*dated.groups())] if dated else [name]
        for written in names:
            for owner in owners:
                yield owner, self.providers[owner].row(written)
        if dated:
            for owner in owners:
                yield owner, self.providers[owner].exact.get(dated[1])


@cache
def table() -> Table:
    """Read the table: once, when the first price is asked for."""
    path = resources.files("flask_llm").joinpath("prices.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    providers = {name: _names(rows) for name, rows in data["providers"].items()}
    made = date.fromisoformat(data["generated"])
    return Table(data["version"], made, providers, data["retires"])


def _names(provider: dict[str, Any]) -> _Names:
    known = _Names(provider["fallbacks"])
    for row in provider["models"]:
        for kind, names in (
            ("names", known.exact),
            ("versioned", known.versioned),
            ("prefixes", known.prefixes),
        ):
            names.update(dict.fromkeys(row.get(kind, ()), row))
    return known


def _rule(name: str, prices: Any, tiers: Any) -> Rule:
    stages = prices if isinstance(prices, list) else [["", prices]]
    return Rule(
        name=name,
        source="table",
        stages=tuple((_when(text), _rates(rates)) for text, rates in stages),
        tiers=tuple((tier, _when(text), _rates(rates)) for tier, text, rates in tiers),
    )


def _when(text: str) -> When:
    if ":" in text:
        start, end = text.split("-")
        return When(hours=(time.fromisoformat(start), time.fromisoformat(end)))
    return When(since=date.fromisoformat(text) if text else None)


def _rates(rates: dict[str, Any]) -> Rates:
    return {name: _price(value) for name, value in rates.items()}


def _price(value: str | list[Any]) -> Price:
    if isinstance(value, str):
        return ((0, Decimal(value)),)
    base, *steps = value
    pairs = zip(steps[::2], steps[1::2], strict=True)
    return ((0, Decimal(base)), *((start, Decimal(usd)) for start, usd in pairs))

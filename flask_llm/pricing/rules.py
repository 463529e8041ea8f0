"""The arithmetic: rates, the conditions they apply under, and usage times rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, localcontext

from flask_llm.chat import Usage

STANDARD = "standard"
BASES = (STANDARD, "batch", "flex", "priority", "fast")
"""The tiers that a price can be given for."""

Price = tuple[tuple[int, Decimal], ...]
"""Steps ``(threshold, USD)``, the first at 0. The last one that the call's whole
input exceeds prices all of it: providers raise the price for the whole request."""

Rates = Mapping[str, Price]
"""Rate name to price, per million tokens or per thousand searches."""

FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "input": (),
    "output": (),
    "cache_read": ("input",),
    "cache_write": ("input",),
    "cache_write_1h": ("cache_write", "input"),
    "web_search": (),
    "input_audio": ("input",),
    "output_audio": ("output",),
    "cache_audio_read": ("cache_read", "input_audio", "input"),
    "reasoning": ("output",),
}
"""Every rate, and which ones stand in where a model has no such rate of its own."""

_PER = {name: 1_000 if name == "web_search" else 1_000_000 for name in FALLBACKS}

# Sums stay exact whatever precision and traps the host has set for its own numbers.
_MONEY = Context(prec=60)

_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class When:
    """The time that a price applies: always, from a day on, or in hours of the day."""

    since: date | None = None
    hours: tuple[time, time] | None = None
    """Start and end (exclusive) in UTC; may run past midnight."""

    def holds(self, at: datetime) -> bool:
        """Tell whether the price applies at a moment given in UTC."""
        if self.since:
            return at.date() >= self.since
        if not self.hours:
            return True
        start, end = self.hours
        if end < start:
            return at.time() >= start or at.time() < end
        return start <= at.time() < end


ALWAYS = When()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one model costs, over time and tiers."""

    name: str
    """The entry that the model was found by."""
    source: str
    """``table`` or ``config``."""
    stages: tuple[tuple[When, Rates], ...]
    """Standard prices; the last one that applies counts, else the first."""
    tiers: tuple[tuple[str, When, Rates], ...] = ()
    """Other tiers by basis: what differs from standard. The first one that applies
    counts, for each rate by itself."""

    def rates(self, basis: str, at: datetime | None = None) -> Rates | None:
        """Return the rates of a tier at a moment, or None where it has none."""
        # Asking the clock costs more than the rest, and most rules need no time.
        moment = utc(at) if len(self.stages) > 1 or self.tiers else _ANY_TIME
        standard = self._standard(moment)
        if basis == STANDARD:
            return standard
        found = [r for b, when, r in self.tiers if b == basis and when.holds(moment)]
        if not found:
            return None
        merged = dict(standard)
        for rates in reversed(found):
            merged.update(rates)
        return merged

    def changes_on(self, at: datetime | None = None) -> date | None:
        """Return the next day on which a price of the model changes."""
        whens = [when for when, _ in self.stages] + [when for _, when, _ in self.tiers]
        days = [when.since for when in whens if when.since]
        return min((day for day in days if day > utc(at).date()), default=None)

    def _standard(self, moment: datetime) -> Rates:
        for when, rates in reversed(self.stages):
            if when.holds(moment):
                return rates
        return self.stages[0][1]


def utc(at: datetime | None) -> datetime:
    """Return a moment in UTC: now for None, and a naive one as it is."""
    if at is None:
        return datetime.now(UTC)
    return at if at.tzinfo is None else at.astimezone(UTC)


def amount(usage: Usage, rates: Rates) -> Decimal | None:
    """Return what usage costs in USD, or None where a rate for it is unknown."""
    total = max(usage.input_tokens, 0)
    with localcontext(_MONEY):
        usd = Decimal(0)
        for name, count in _parts(usage):
            if count:
                price = _price(name, rates)
                if price is None:
                    return None
                usd += _step(price, total) * count / _PER[name]
    return usd


def dearest(
    parts: Mapping[tuple[str, ...], int], input_tokens: int, rates: Rates
) -> Decimal | None:
    """Return what tokens cost at most in USD, or None where a rate is unknown.

    :param parts: how many there are of those that may fall under any of some rates.
    :param input_tokens: all of the input, which tells the step of a price.
    """
    with localcontext(_MONEY):
        usd = Decimal(0)
        for names, count in parts.items():
            if not count:
                continue
            prices = [_price(name, rates) for name in names]
            if None in prices:
                return None
            steps = (_step(price, input_tokens) for price in prices if price)
            usd += max(steps) * count / _PER[names[0]]
    return usd


def _price(name: str, rates: Rates) -> Price | None:
    if name in rates:
        return rates[name]
    return next((rates[other] for other in FALLBACKS[name] if other in rates), None)


def _step(price: Price, total: int) -> Decimal:
    for threshold, usd in reversed(price):
        if total > threshold:
            return usd
    return price[0][1]


def _parts(usage: Usage) -> Iterator[tuple[str, int]]:
    """Split inclusive counts into disjoint ones, each with the rate that is due.

    Counts that contradict each other are cut to fit, the dearer part first.
    """
    total = max(usage.input_tokens, 0)
    write = _within(usage.cache_write_tokens, total)
    write_1h = _within(usage.cache_write_1h_tokens, write)
    read = _within(usage.cache_read_tokens, total - write)
    fresh = total - write - read
    # Nobody reports which audio was cached: what fits is taken for fresh.
    audio = _within(usage.input_audio_tokens, total)
    fresh_audio = min(audio, fresh)
    read_audio = min(audio - fresh_audio, read)
    yield "input", fresh - fresh_audio
    yield "input_audio", fresh_audio
    yield "cache_read", read - read_audio
    yield "cache_audio_read", read_audio
    yield "cache_write", write - write_1h
    yield "cache_write_1h", write_1h

    output = max(usage.output_tokens, 0)
    spoken = _within(usage.output_audio_tokens, output)
    reasoning = _within(usage.reasoning_tokens, output - spoken)
    yield "output", output - spoken - reasoning
    yield "output_audio", spoken
    yield "reasoning", reasoning
    yield "web_search", max(usage.web_searches, 0)


def _within(count: int, limit: int) -> int:
    return max(0, min(count, limit))

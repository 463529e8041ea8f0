"""What the headers of an answer say about the room that its provider has left.

OpenAI, and those who follow it, send ``x-ratelimit-{limit,remaining,reset}-{requests,
tokens}``. The reset is a duration: "the time until the rate limit (based on requests)
resets to its initial state" (platform.openai.com/docs/guides/rate-limits, with the
example of 60 requests, 59 remaining, reset in ``1s``). Anthropic sends
``anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,
reset}``. The reset is "the time when the rate limit will be fully replenished"
(docs.anthropic.com/en/api/rate-limits). Either way it is a bucket that fills evenly:
what is missing, ``limit - remaining``, comes back over ``reset``, so each request or
token takes::

    reset / (limit - remaining)

- No request is left: nobody starts before the reset. It may be a fixed window, of which
  nothing comes back sooner.
- Less than a tenth of the requests is left: starts are as far apart as requests come
  back. A reset of more than a minute is that of a limit for the day, such as Groq's
  (console.groq.com/docs/rate-limits), where a tenth may still be plenty: what is left
  is then spread over one minute, where that is faster.
- Less than half of the tokens is left: a caller whose estimate is more than that waits
  until the difference has come back, at most until the reset.
- Less than a tenth of Anthropic's input or output tokens is left: nobody starts before
  there is a tenth. An estimate is of both together and says nothing about each.

A limit of which a part is missing or makes no sense is not heeded: Azure sends -1, or
0, for what it does not know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

HOLD_MAX_SECONDS = 60.0
"""How long a provider may hold us up at most, whatever it says."""

SCARCE = 0.1
"""The share of a limit below which what is left is spread out."""

TOKENS_SCARCE = 0.5
"""The share below which single calls may be too large for the tokens that are left."""

RESET_MAX_SECONDS = 31 * 86_400
"""A bare number above it is a date and no duration."""

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|µs|[dhms]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|[dhms])")
_UNITS = {
    "d": 86_400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """What slows us down; nothing of it lasts longer than a minute."""

    hold_seconds: float = 0.0
    """Nobody starts before they are over."""
    spacing_seconds: float = 0.0
    """Starts are that far apart..."""
    spaced_seconds: float = 0.0
    """...for so long."""
    tokens_left: float = 0.0
    """Tokens that may be asked for at once..."""
    tokens_per_second: float = 0.0
    """...and how fast they come back..."""
    tokens_seconds: float = 0.0
    """...until all of them are there."""

    def __bool__(self) -> bool:
        return bool(self.hold_seconds or self.spaced_seconds or self.tokens_seconds)


@dataclass(frozen=True, slots=True)
class _Limit:
    limit: float
    remaining: float
    reset: float
    """Seconds until it is as at the beginning."""

    @property
    def share(self) -> float:
        return self.remaining / self.limit

    @property
    def each(self) -> float:
        """Seconds in which one comes back; only where some are missing."""
        return self.reset / (self.limit - self.remaining)


def held(seconds: float) -> Brake:
    """Return what keeps everybody back for some seconds; nonsense does not."""
    return Brake(hold_seconds=min(seconds, HOLD_MAX_SECONDS) if seconds > 0 else 0.0)


def brake(headers: Mapping[str, str], now: float) -> Brake:
    """Read what slows us down; see the module's text for how.

    :param headers: names in lower case.
    :param now: seconds since 1970.
    """
    requests = _limit(headers, "requests", now)
    tokens = _limit(headers, "tokens", now)
    hold = max(_holds(headers, now), default=0.0)
    spacing = spaced = 0.0
    if requests and not requests.remaining:
        hold = max(hold, requests.reset)
    elif requests and requests.share < SCARCE:
        spaced = min(requests.reset, HOLD_MAX_SECONDS)
        spacing = min(requests.each, spaced / requests.remaining)
    scarce = tokens if tokens and tokens.share < TOKENS_SCARCE else None
    return Brake(
        hold_seconds=min(hold, HOLD_MAX_SECONDS),
        spacing_seconds=spacing,
        spaced_seconds=spaced,
        tokens_left=scarce.remaining if scarce else 0.0,
        tokens_per_second=1 / scarce.each if scarce else 0.0,
        tokens_seconds=min(scarce.reset, HOLD_MAX_SECONDS) if scarce else 0.0,
    )


def _holds(headers: Mapping[str, str], now: float) -> Iterator[float]:
    """Find how long until a tenth of Anthropic's separate tokens is back."""
    for kind in ("input-tokens", "output-tokens"):
        tokens = _limit(headers, kind, now)
        if tokens and tokens.share < SCARCE:
            yield (SCARCE * tokens.limit - tokens.remaining) * tokens.each


def _limit(headers: Mapping[str, str], kind: str, now: float) -> _Limit | None:
    """Read one limit, in whichever dialect it is there."""
    if f"x-ratelimit-limit-{kind}" in headers:
        parts = [headers.get(f"x-ratelimit-{part}-{kind}", "") for part in _PARTS]
        return _checked(parts, _duration)
    if f"anthropic-ratelimit-{kind}-limit" in headers:
        name = f"anthropic-ratelimit-{kind}"
        parts = [headers.get(f"{name}-{part}", "") for part in _PARTS]
        return _checked(parts, lambda text: _moment(text) - now)
    return None


_PARTS = ("limit", "remaining", "reset")


def _checked(parts: list[str], seconds: Callable[[str], float]) -> _Limit | None:
    try:
        limit, remaining = float(parts[0]), float(parts[1])
        reset = seconds(parts[2].strip())
    except (ValueError, OverflowError):
        return None
    # Comparing with nan is false, so all of these say what is right.
    if 0 <= remaining <= limit and 0 < limit < math.inf:
        return _Limit(limit, remaining, reset) if _lasts(reset) else None
    return None


def _lasts(reset: float) -> bool:
    return 0 < reset <= RESET_MAX_SECONDS


def _duration(text: str) -> float:
    if _DURATION.fullmatch(text):
        return sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text))
    return float(text)


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

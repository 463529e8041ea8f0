"""What the headers of answers say: when to come back, and how much room is left."""

from datetime import UTC, datetime
from math import isfinite

from flask_llm.guards.pacing.headers import HOLD_MAX_SECONDS, brake
from flask_llm.retry import retry_after
from fuzz import common

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

SEEDS = [
    b"retry-after=7\nretry-after-ms=1500.5",
    b"retry-after=Mon, 23 Nov 2026 12:00:30 GMT",
    b"retry-after=Mon Nov 23 12:00:30 2026 +0100",
    (
        b"x-ratelimit-limit-requests=60\nx-ratelimit-remaining-requests=1\n"
        b"x-ratelimit-reset-requests=1m2.5s"
    ),
    (
        b"x-ratelimit-limit-tokens=1000\nx-ratelimit-remaining-tokens=10\n"
        b"x-ratelimit-reset-tokens=6ms"
    ),
    (
        b"anthropic-ratelimit-input-tokens-limit=1000\n"
        b"anthropic-ratelimit-input-tokens-remaining=10\n"
        b"anthropic-ratelimit-input-tokens-reset=2026-11-23T12:00:30Z"
    ),
    (
        b"anthropic-ratelimit-requests-limit=50\n"
        b"anthropic-ratelimit-requests-remaining=0\n"
        b"anthropic-ratelimit-requests-reset=2026-11-23T12:00:30Z"
    ),
]


def check(data):
    """Whatever they say, it is seconds that pass, and a brake that wears off."""
    said = dict(common.pairs(data))
    seconds = retry_after(said, NOW)
    assert seconds is None or 0 <= seconds < float("inf")

    found = brake(said, NOW.timestamp())
    limits = found.hold_seconds, found.spaced_seconds, found.tokens_seconds
    assert all(0 <= limit <= HOLD_MAX_SECONDS for limit in limits), found
    rates = found.spacing_seconds, found.tokens_left, found.tokens_per_second
    assert all(isfinite(rate) and rate >= 0 for rate in rates), found

"""What this process has asked of one provider, and when it may ask again."""

from __future__ import annotations

import math

from flask_llm.guards.pacing.headers import Brake
from flask_llm.guards.pacing.ticket import Ticket, Wait
from flask_llm.guards.pacing.window import Window


class Meter:
    """Knows when a caller that is first in line may start; `scripts` says it to Redis.

    :param window_seconds: what a minute is in ``requests_per_minute``.
    """

    def __init__(self, window_seconds: float) -> None:
        self._started = -math.inf
        self._held_until = -math.inf
        self._spacing = 0.0
        self._spaced_until = -math.inf
        self._left = 0.0
        self._left_at = 0.0
        self._left_rate = 0.0
        self._left_until = -math.inf
        self._requests = Window(window_seconds)
        self._tokens = Window(window_seconds)

    def wait(self, ticket: Ticket, now: float, *, alone: bool) -> Wait | None:
        """Return how long a caller waits for the right moment; None where it is now.

        :param alone: nobody is being served whose tokens may yet turn out fewer.
        """
        provider = ticket.provider
        interval = provider.min_interval
        if now < self._spaced_until:
            interval = max(interval, self._spacing)
        certain = max(0.0, self._held_until - now, self._started + interval - now)
        if provider.requests_per_minute:
            most = provider.requests_per_minute
            certain = max(certain, self._requests.wait(now, most, 1))
        seconds = certain
        if provider.tokens_per_minute:
            most = provider.tokens_per_minute
            seconds = max(seconds, self._tokens.wait(now, most, ticket.counted))
        if now < self._left_until:
            seconds = max(seconds, self._until_left(max(1, ticket.tokens), now))
        if not seconds:
            return None
        return Wait(seconds, seconds if alone else certain)

    def start(self, ticket: Ticket, now: float) -> None:
        """Count a caller that starts."""
        self._started = now
        if ticket.provider.requests_per_minute:
            ticket.bucket = self._requests.count(now, 1)
        if ticket.provider.tokens_per_minute:
            ticket.bucket = self._tokens.count(now, ticket.counted)
        if now < self._left_until:
            self._left -= ticket.tokens

    def correct(self, ticket: Ticket, tokens: int, requests: int) -> None:
        """Change what was counted for a caller."""
        if tokens:
            self._tokens.correct(ticket.bucket, tokens)
        if requests:
            self._requests.correct(ticket.bucket, requests)

    def slow(self, brake: Brake, now: float) -> None:
        """Heed a provider: a hold may be made longer, the rest is its latest word."""
        if brake.hold_seconds:
            self._held_until = max(self._held_until, now + brake.hold_seconds)
        if brake.spaced_seconds:
            self._spacing = brake.spacing_seconds
            self._spaced_until = now + brake.spaced_seconds
        if brake.tokens_seconds:
            self._left, self._left_at = brake.tokens_left, now
            self._left_rate = brake.tokens_per_second
            self._left_until = now + brake.tokens_seconds

    def _until_left(self, tokens: int, now: float) -> float:
        """Return when a provider has enough tokens again, at the latest all of them."""
        there = self._left + (now - self._left_at) * self._left_rate
        if there >= tokens:
            return 0.0
        return min((tokens - there) / self._left_rate, self._left_until - now)

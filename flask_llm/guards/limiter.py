"""Flask-Limiter as quotas use it: storage and strategy, none of its hooks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from flask import Flask
from flask_limiter import Limiter
from limits import (
    RateLimitItem,
    RateLimitItemPerDay,
    RateLimitItemPerHour,
    RateLimitItemPerMinute,
    RateLimitItemPerMonth,
    RateLimitItemPerSecond,
    RateLimitItemPerYear,
)
from limits.errors import ConcurrentUpdateError, StorageError
from limits.storage import MemoryStorage, SlidingWindowCounterSupport
from limits.strategies import (
    FixedWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)

from flask_llm.errors import ConfigError
from flask_llm.guards.shared import Down, Shared
from flask_llm.guards.windows import BLURRED_SECONDS, RETRY_SECONDS_MIN
from flask_llm.settings import Quota

NAMESPACE = "llm"
"""What our keys begin with, wherever they are."""

# A fixed window lets twice the number through around its end. A moving window keeps a
# timestamp of every call, a thousand for "1000/day per user" and each user, and takes
# nothing back. This one keeps two numbers per subject, is one script in Redis, and
# takes back what a call took that is refused after all. It weighs the last window's
# calls as if they had been evenly spread, which is as exact as a quota needs to be.
STRATEGY = "sliding-window-counter"

_ROUNDED_SECONDS = 0.5
"""By how much Redis rounds the lifetime of a fixed window."""

_ITEMS: dict[str, type[RateLimitItem]] = {
    "second": RateLimitItemPerSecond,
    "minute": RateLimitItemPerMinute,
    "hour": RateLimitItemPerHour,
    "day": RateLimitItemPerDay,
    "month": RateLimitItemPerMonth,
    "year": RateLimitItemPerYear,
}


class Windows:
    """Counts calls in a Limiter's storage, by its strategy.

    :param limiter: read anew each time; Flask-Limiter may go over to its fallback.
    :param now: seconds since the epoch.
    """

    def __init__(
        self, limiter: Limiter, *, now: Callable[[], float] = time.time
    ) -> None:
        self._limiter = limiter
        self._now = now
        self._lock = threading.Lock()

    def test(self, quota: Quota, *who: str) -> bool:
        """Tell whether there is room for a call.

        :raises Down: where the storage cannot be reached.
        """
        with self._counting() as strategy:
            return strategy.test(_item(quota), *who)

    def hit(self, quota: Quota, *who: str) -> bool:
        """Count a call and tell whether there was room for it.

        :raises Down: where the storage cannot be reached.
        """
        with self._counting() as strategy:
            counted = strategy.hit(_item(quota), *who)
            if not counted and isinstance(strategy, FixedWindowRateLimiter):
                self._take_back(strategy, quota, who, 0.0)
            return counted

    def take_back(self, quota: Quota, *who: str, seconds_ago: float) -> None:
        """Uncount a call where it still counts and the strategy can.

        A moving window cannot, nor can a fixed one in Memcached. What counts in a
        window that has ended is left alone: the next one would have room for one more
        call than it should.

        :raises Down: where the storage cannot be reached.
        """
        with self._counting() as strategy:
            self._take_back(strategy, quota, who, seconds_ago)

    def seconds_left(self, quota: Quota, *who: str) -> float:
        """Return after how long there may be room again.

        :raises Down: where the storage cannot be reached.
        """
        with self._counting() as strategy:
            stats = strategy.get_window_stats(_item(quota), *who)
        return max(RETRY_SECONDS_MIN, stats.reset_time - self._now())

    def _take_back(
        self,
        strategy: RateLimiter,
        quota: Quota,
        who: tuple[str, ...],
        seconds_ago: float,
    ) -> None:
        item = _item(quota)
        age = self._window_seconds(strategy, item, who)
        if age is not None and age >= seconds_ago:
            strategy.hit(item, *who, cost=-1)

    def _window_seconds(
        self, strategy: RateLimiter, item: RateLimitItem, who: tuple[str, ...]
    ) -> float | None:
        """Return how long ago, at most, the current window began; None without one."""
        expiry = item.get_expiry()
        if isinstance(strategy, FixedWindowRateLimiter):
            left = strategy.get_window_stats(item, *who).reset_time - self._now()
            return expiry - left + _ROUNDED_SECONDS if left > 0 else None
        storage = strategy.storage
        if isinstance(strategy, SlidingWindowCounterRateLimiter) and isinstance(
            storage, SlidingWindowCounterSupport
        ):
            # Windows live on for another one's time, to be the last one meanwhile.
            left = storage.get_sliding_window(item.key_for(*who), expiry)[3]
            return 2 * expiry - left + BLURRED_SECONDS if left > 0 else None
        return None

    @contextmanager
    def _counting(self) -> Iterator[RateLimiter]:
        strategy = self._limiter.limiter
        storage: Any = strategy.storage
        # In memory a hit reads, adds and reads again with others in between: racing
        # calls are lost or refused, and trip over the thread that it starts.
        alone: AbstractContextManager[object] = nullcontext()
        if isinstance(storage, MemoryStorage):
            alone = self._lock
        with alone:
            try:
                yield strategy
            except _errors(storage) as error:
                raise Down from error


def _errors(storage: Any) -> tuple[type[Exception], ...]:
    """Return what a storage raises when it fails; it wraps errors only if told to.

    One in memory that the host counts in at the same time raises RuntimeError where
    both start its thread.
    """
    theirs = storage.base_exceptions
    several = theirs if isinstance(theirs, tuple) else (theirs,)
    return (*several, StorageError, ConcurrentUpdateError, OSError, RuntimeError)


def _item(quota: Quota) -> RateLimitItem:
    return _ITEMS[quota.unit](quota.count, quota.every, namespace=NAMESPACE)


def own(shared: Shared) -> Limiter:
    """Make a Limiter of our own, which counts in Redis.

    On an app that stands in for the host's: its hooks would run in each of the host's
    requests, and the host's ``RATELIMIT_`` settings would be its own.

    :param shared: whose connections, timeouts and tries are used.
    """
    pool = shared.client.connection_pool
    return Limiter(
        str,  # whose request it is; there are none
        app=Flask(__name__),
        storage_uri="redis://",
        storage_options={"connection_pool": pool, "key_prefix": "llm:quota"},
        strategy=STRATEGY,
    )


def borrowed(app: Flask, named: Any) -> Limiter | None:
    """Find the app's Limiter that ``LLM_LIMITER`` names.

    One that is switched off, as it often is in tests, has no storage to lend: None.

    :raises ConfigError: where there is none, or several.
    """
    if not named:
        return None
    found = [named] if isinstance(named, Limiter) else _of_app(app, named)
    if not found and not app.config.get("RATELIMIT_ENABLED", True):
        return None
    if len(found) != 1:
        raise ConfigError(
            f"LLM_LIMITER={named!r}: the app has {len(found) or 'no'} Limiters; set it "
            "to the one that is meant, or leave it out for one of ours."
        )
    if found[0].enabled and not found[0].initialized:
        raise ConfigError(
            "LLM_LIMITER is a Limiter that belongs to no app; did you forget "
            "limiter.init_app(app)?"
        )
    return found[0] if found[0].enabled else None


def _of_app(app: Flask, named: Any) -> list[Limiter]:
    if named is not True:
        raise ConfigError(
            f"LLM_LIMITER is a Limiter or True, not {type(named).__name__}."
        )
    return list(app.extensions.get("limiter", ()))

"""Windows that calls are counted in, within this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from flask_llm.settings import Quota

RETRY_SECONDS_MIN = 0.1

BLURRED_SECONDS = 0.01
"""By how much two clocks may differ over the time of a call."""

_DAY_SECONDS = 86_400

_UNIT_SECONDS = {
    "second": 1,
    "minute": 60,
    "hour": 3_600,
    "day": _DAY_SECONDS,
    "month": 30 * _DAY_SECONDS,
    "year": 360 * _DAY_SECONDS,
}
"""As Flask-Limiter has them."""

_SUBJECTS_KEPT = 1_024
"""How many subjects there are before those are looked for that are over."""


@dataclass(slots=True)
class _Count:
    """One subject's calls in the window that began last, and in the one before."""

    seconds: int
    window: int
    now: int = 0
    before: int = 0

    def weight(self, at: float) -> float:
        """Return how much of the last window's calls still counts.

        They are taken as evenly spread.
        """
        return self.before * (1 - at % self.seconds / self.seconds)

    def turn(self, window: int) -> None:
        """Go over to a later window; a clock that was set back changes nothing."""
        if window > self.window:
            self.before = self.now if window == self.window + 1 else 0
            self.now, self.window = 0, window


class LocalWindows:
    """Counts calls in memory, by the strategy that ours in Redis has, too.

    Each subject has two numbers. The storage in memory of Flask-Limiter itself takes
    five times as long, and starts a thread for nearly every call.

    :param now: seconds since the epoch.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._counts: dict[tuple[Quota, tuple[str, ...]], _Count] = {}
        self._most = _SUBJECTS_KEPT

    def test(self, quota: Quota, *who: str) -> bool:
        """Tell whether there is room for a call."""
        with self._lock:
            at = self._now()
            count = self._count(quota, who, at)
            return count.weight(at) + count.now < quota.count

    def hit(self, quota: Quota, *who: str) -> bool:
        """Count a call and tell whether there was room for it."""
        with self._lock:
            at = self._now()
            count = self._count(quota, who, at)
            if count.weight(at) + count.now >= quota.count:
                return False
            count.now += 1
            return True

    def take_back(self, quota: Quota, *who: str, seconds_ago: float) -> None:
        """Uncount a call, unless it was counted in a window that has ended."""
        with self._lock:
            at = self._now()
            count = self._count(quota, who, at)
            if at % count.seconds + BLURRED_SECONDS >= seconds_ago and count.now:
                count.now -= 1

    def seconds_left(self, quota: Quota, *who: str) -> float:
        """Return after how long there may be room again."""
        with self._lock:
            at = self._now()
            count = self._count(quota, who, at)
            left = count.seconds - at % count.seconds
            if count.before:
                left = min(left, left % (count.seconds / count.before))
            return max(RETRY_SECONDS_MIN, left)

    def _count(self, quota: Quota, who: tuple[str, ...], at: float) -> _Count:
        key = quota, who
        count = self._counts.get(key)
        if count is None:
            self._forget(at)
            seconds = quota.every * _UNIT_SECONDS[quota.unit]
            count = self._counts[key] = _Count(seconds, int(at // seconds))
        else:
            count.turn(int(at // count.seconds))
        return count

    def _forget(self, at: float) -> None:
        """Forget those of whom nothing counts any more, before there are twice as many.

        So memory is bounded by the subjects of a window or two, and a look at all of
        them is paid for by those that came since the last one.
        """
        if len(self._counts) < self._most:
            return
        self._counts = {
            key: count
            for key, count in self._counts.items()
            if at // count.seconds <= count.window + 1
        }
        self._most = max(_SUBJECTS_KEPT, 2 * len(self._counts))

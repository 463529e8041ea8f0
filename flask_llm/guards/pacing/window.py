"""How much was begun within the last minute."""

from __future__ import annotations

BUCKETS = 60
"""Into how many pieces a window is cut."""


class Window:
    """Counts in sixty buckets and the present one, so in bounded memory.

    A count stays until its bucket's end is a whole window ago. So no window of that
    length, wherever it begins, holds more than was let through here.

    :param seconds: the length of the window.
    """

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self._counts: dict[int, int] = {}
        self._total = 0

    def wait(self, now: float, most: int, ask: int) -> float:
        """Return the seconds until some more fit under a limit."""
        self._forget(now)
        excess = self._total + ask - most
        if excess <= 0:
            return 0.0
        last = int(now // self._width)
        for bucket, count in self._counts.items():
            excess -= count
            if excess <= 0:
                last = bucket
                break
        return (last + BUCKETS + 1) * self._width - now

    def count(self, now: float, amount: int) -> int:
        """Count what begins now; return the bucket, by which it can be corrected."""
        bucket = int(now // self._width)
        self._counts[bucket] = self._counts.get(bucket, 0) + amount
        self._total += amount
        return bucket

    def correct(self, bucket: int, amount: int) -> None:
        """Change what was counted, where that is not over already."""
        if bucket in self._counts:
            self._counts[bucket] += amount
            self._total += amount

    def _forget(self, now: float) -> None:
        oldest = int(now // self._width) - BUCKETS
        while self._counts and (first := next(iter(self._counts))) < oldest:
            self._total -= self._counts.pop(first)

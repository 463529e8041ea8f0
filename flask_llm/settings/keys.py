"""API keys: several of them take turns, and one that is rate limited rests."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable


class Keys:
    """One provider's API keys, which no repr, log or error shows.

    There is no lock: each step is one operation of a builtin, and so threads need none
    and a fork can catch none held.

    :param source: a key, several to take in turn, or a function that returns one.
    :param clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_keys", "_source", "_turns", "_waking")

    def __init__(
        self,
        source: str | list[str] | Callable[[], str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source if callable(source) else None
        if callable(source):
            self._keys: tuple[str, ...] = ()
        else:
            self._keys = (source,) if isinstance(source, str) else tuple(source)
        self._clock = clock
        self._turns = itertools.count()
        self._waking: dict[str, float] = {}

    def next(self) -> str:
        """Return the key for the next request: the next one that is not resting.

        Where all are resting, the one that wakes first.
        """
        if self._source is not None:
            return self._source()
        awake = self._awake()
        if awake:
            return awake[next(self._turns) % len(awake)]
        return min(self._keys, key=self._seconds)

    def pinned(self) -> Keys:
        """Return the key whose turn it is, for requests that belong together."""
        return _always(self.next())

    def each(self) -> list[Keys]:
        """Return every key by itself, for what only one of their accounts knows."""
        return [_always(key) for key in self._keys] or [self]

    def rest(self, key: str, seconds: float) -> bool:
        """Leave a key alone for a while, and tell whether another one is awake.

        A key that has no other beside it does not rest, nor does one that a function
        returned: there would be none to take instead.
        """
        if not self.several or key not in self._keys:
            return False
        self._waking[key] = self._clock() + max(seconds, self._seconds(key))
        return self.awake

    @property
    def several(self) -> bool:
        """Whether there are others to take instead of one."""
        return len(set(self._keys)) > 1

    @property
    def awake(self) -> bool:
        """Whether there is a key that is not resting."""
        return self._source is not None or bool(self._awake())

    @property
    def wait(self) -> float:
        """Seconds until the first key is awake, 0 where one is."""
        if self._source is not None:
            return 0.0
        return min(map(self._seconds, self._keys))

    def _awake(self) -> list[str]:
        return [key for key in self._keys if not self._seconds(key)]

    def _seconds(self, key: str) -> float:
        return max(0.0, self._waking.get(key, float("-inf")) - self._clock())

    def __repr__(self) -> str:
        return "Keys(***)"


def _always(key: str) -> Keys:
    return Keys(lambda: key)

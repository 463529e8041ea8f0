"""What to do about something that is down: leave it alone, and say so once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from flask_llm.forks import after_fork

REST_SECONDS = 5.0
"""How long what failed is left alone: each call would wait for it."""

logger = logging.getLogger("flask_llm")


class Outage:
    """Whether something is down; when it has rested, one caller finds out.

    Going down and coming back are each logged once.

    :param name: what it is, at the beginning of a sentence.
    :param meanwhile: what happens until it is back.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        meanwhile: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._meanwhile = meanwhile
        self._clock = clock
        self._lock = threading.Lock()
        self._until: float | None = None
        self._failed_at = 0.0
        after_fork(self.renew)

    def is_over(self) -> bool:
        """Whether this caller is to try."""
        if self._until is None:
            return True
        with self._lock:
            if self._until is None:
                return True
            if self._clock() < self._until:
                return False
            self._until = self._clock() + REST_SECONDS
            return True

    def failed(self, error: BaseException | None) -> None:
        """Begin it, or have it go on."""
        with self._lock:
            first = self._until is None
            self._failed_at = self._clock()
            self._until = self._failed_at + REST_SECONDS
        if first:
            logger.warning(
                "%s cannot be reached (%s): until it is back, %s.",
                self._name,
                type(error).__name__,
                self._meanwhile,
            )

    def ended(self, began: float) -> None:
        """End it, unless the attempt that succeeded had begun before it failed.

        :param began: monotonic seconds.
        """
        if self._until is None:
            return
        with self._lock:
            if self._until is None or began < self._failed_at:
                return
            self._until = None
        logger.warning("%s is back.", self._name)

    def seconds_left(self) -> float:
        """Return how long until somebody tries again."""
        until = self._until
        return REST_SECONDS if until is None else max(0.1, until - self._clock())

    def renew(self) -> None:
        """Renew the lock, which a thread of the parent may hold after a fork."""
        self._lock = threading.Lock()

"""Where calls and attempts are counted: here, or in a storage of Flask-Limiter's."""

from __future__ import annotations

import hashlib
import importlib
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from flask import Flask

from flask_llm.forks import after_fork
from flask_llm.guards.shared import Shared
from flask_llm.guards.windows import LocalWindows
from flask_llm.settings import Quota


class Windows(Protocol):
    """Counts calls against quotas, in this process or in a storage."""

    def test(self, quota: Quota, *who: str) -> bool:
        """Tell whether there is room for a call."""

    def hit(self, quota: Quota, *who: str) -> bool:
        """Count a call and tell whether there was room for it."""

    def take_back(self, quota: Quota, *who: str, seconds_ago: float) -> None:
        """Uncount a call."""

    def seconds_left(self, quota: Quota, *who: str) -> float:
        """Return after how long there may be room again."""


class Storage:
    """Finds what to count in, and makes it where there is none.

    Nothing is loaded, connected to or started before it is first asked.

    :param limiter: ``LLM_LIMITER``: the Limiter of the app, True for its only one.
    :param shared: where a Limiter of our own counts if none is named; None counts in
        this process.
    :param now: seconds since the epoch.
    """

    def __init__(
        self,
        app: Flask,
        *,
        limiter: Any = None,
        shared: Shared | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._limiter = limiter
        self._shared = shared
        self._now = now
        self.forget()
        after_fork(self.forget)

    def forget(self) -> None:
        """Begin anew, as a forked worker must: the locks may be held."""
        self._lock = threading.Lock()
        self._found: Windows | None = None
        self._own: Windows | None = None

    def windows(self) -> Windows:
        """Return what all workers count in, as far as the settings provide for it.

        :raises ConfigError: where ``LLM_LIMITER`` names none, or several.
        """
        with self._lock:
            if self._found is None:
                self._found = self._limited() or self._here()
            return self._found

    def local(self) -> Windows:
        """Return what this process counts in by itself."""
        with self._lock:
            return self._here()

    def _here(self) -> Windows:
        if self._own is None:
            self._own = LocalWindows(now=self._now)
        return self._own

    def _limited(self) -> Windows | None:
        """Return windows in a storage; only apps that count there load Flask-Limiter.

        :raises ConfigError: where ``LLM_LIMITER`` names none, or several.
        """
        if not self._limiter and self._shared is None:
            return None
        module: Any = importlib.import_module("flask_llm.guards.limiter")
        limiter = module.borrowed(self._app, self._limiter)
        if limiter is None and self._shared is not None:
            limiter = module.own(self._shared)
        if limiter is None:
            return None
        windows: Windows = module.Windows(limiter, now=self._now)
        return windows


def hashed(subject: str) -> str:
    """Return a name for a storage: no address stands in it, none has a separator."""
    return hashlib.sha256(subject.encode()).hexdigest()[:32]

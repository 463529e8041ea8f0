"""Quotas: so many calls in a time, counted in Flask-Limiter's storage."""

from __future__ import annotations

import hashlib
import importlib
import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

from flask import Flask

from flask_llm.chat import Question
from flask_llm.errors import QuotaExceeded
from flask_llm.forks import after_fork
from flask_llm.guards.outage import Outage
from flask_llm.guards.shared import Down, Shared
from flask_llm.settings import Quota


class Windows(Protocol):
    """What is used of :class:`flask_llm.guards.limiter.Windows`."""

    def test(self, quota: Quota, *who: str) -> bool:
        """Tell whether there is room for a call."""

    def hit(self, quota: Quota, *who: str) -> bool:
        """Count a call and tell whether there was room for it."""

    def take_back(self, quota: Quota, *who: str, seconds_ago: float) -> None:
        """Uncount a call."""

    def seconds_left(self, quota: Quota, *who: str) -> float:
        """Return after how long there may be room again."""


class Due(NamedTuple):
    """One quota that a call counts against, and whose calls it counts with."""

    quota: Quota
    scope: str
    subject: str
    """Hashed: no address stands in a storage, and none can hold a separator."""


class Taken:
    """What a call took from quotas; given back where it is refused after all."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken: list[tuple[Windows, Due, float]] = []

    def add(self, windows: Windows, due: Due) -> None:
        """Remember that a call was counted."""
        self._taken.append((windows, due, self._clock()))

    def refund(self) -> None:
        """Give it back as far as it still counts; the second time does nothing."""
        while self._taken:
            windows, due, at = self._taken.pop()
            try:
                windows.take_back(*due, seconds_ago=self._clock() - at)
            except Down:
                self._taken.clear()


class Quotas:
    """Counts calls, and refuses those that are too many.

    Nothing is loaded, connected to or started before the first call that a quota
    counts. A storage that is down is left alone for some seconds at a time; going down
    and coming back are each logged once.

    :param limiter: ``LLM_LIMITER``: the Limiter of the app, True for its only one.
    :param shared: where our own Limiter counts if none is named; None counts in this
        process.
    :param storage_down: what to do while the storage is down: ``local`` counts in this
        process, ``allow``, ``deny``.
    :param now: seconds since the epoch.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        quotas: Sequence[Quota],
        *,
        app: Flask,
        limiter: Any = None,
        shared: Shared | None = None,
        storage_down: str = "local",
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Two that differ in their wording alone would count each call twice.
        alike: dict[tuple[object, ...], Quota] = {}
        for quota in quotas:
            facts = quota.count, quota.every, quota.unit, quota.scope
            alike.setdefault(facts, quota)
        self._quotas = tuple(alike.values())
        self._app = app
        self._limiter = limiter
        self._shared = shared
        self._storage_down = storage_down
        self._now = now
        self._clock = clock
        self.forget()
        after_fork(self.forget)

    def check(self, prompt: Question, scopes: Collection[str] | None = None) -> Taken:
        """Count a call against all quotas, or against none where one has no room.

        :param scopes: count only quotas of these; None counts all.
        :raises QuotaExceeded: naming the quota; ``retry_after`` says how long to wait.
        """
        due = [
            Due(quota, quota.scope, _hashed(prompt.subject(quota.scope)))
            for quota in self._quotas
            if scopes is None or quota.scope in scopes
        ]
        if not due:
            return Taken()
        began = self._clock()
        if self._outage.is_over():
            try:
                taken = self._take(self._windows(), due)
            except Down as down:
                self._outage.failed(down.__cause__)
            else:
                self._outage.ended(began)
                return taken
        return self._do_without(due)

    def forget(self) -> None:
        """Begin anew, as a forked worker must: the locks may be held."""
        self._lock = threading.Lock()
        self._found: Windows | None = None
        self._own: Windows | None = None
        meanwhile = _MEANWHILE[self._storage_down]
        self._outage = Outage("The storage of quotas", meanwhile, clock=self._clock)

    def _take(self, windows: Windows, due: Sequence[Due]) -> Taken:
        for each in due:
            if not windows.test(*each):
                raise self._refusal(windows, each)
        taken = Taken(self._clock)
        for each in due:
            if not windows.hit(*each):  # another call was faster
                taken.refund()
                raise self._refusal(windows, each)
            taken.add(windows, each)
        return taken

    def _refusal(self, windows: Windows, due: Due) -> QuotaExceeded:
        seconds = windows.seconds_left(*due)
        whose = "" if due.scope == "app" else f" by this {due.scope}"
        return QuotaExceeded(
            f"The quota {due.quota.text!r} (LLM_QUOTAS) is used up{whose}; there is "
            f"room again in {math.ceil(seconds)} s.",
            retry_after=seconds,
        )

    def _do_without(self, due: Sequence[Due]) -> Taken:
        if self._storage_down == "local":
            return self._take(self._local(), due)
        if self._storage_down == "allow":
            return Taken()
        raise QuotaExceeded(
            "Quotas cannot be counted, since their storage cannot be reached; "
            "LLM_STORAGE_DOWN says what to do then.",
            code="quota_storage_down",
            retry_after=self._outage.seconds_left(),
        )

    def _windows(self) -> Windows:
        with self._lock:
            if self._found is None:
                found = _module().borrowed(self._app, self._limiter)
                self._found = self._made(found or _module().own(self._shared))
            return self._found

    def _local(self) -> Windows:
        with self._lock:
            if self._own is None:
                self._own = self._made(_module().own(None))
            return self._own

    def _made(self, limiter: Any) -> Windows:
        windows: Windows = _module().Windows(limiter, now=self._now)
        return windows


_MEANWHILE = {
    "local": "each process counts by itself",
    "allow": "all calls are allowed",
    "deny": "all calls are refused",
}


def _hashed(subject: str) -> str:
    return hashlib.sha256(subject.encode()).hexdigest()[:32]


def _module() -> Any:
    """Load what loads Flask-Limiter: only apps with quotas pay for it."""
    return importlib.import_module("flask_llm.guards.limiter")

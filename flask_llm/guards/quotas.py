"""Quotas: so many calls in a time, counted in Flask-Limiter's storage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from flask_llm.chat import Question
from flask_llm.errors import QuotaExceeded
from flask_llm.forks import after_fork
from flask_llm.guards.counting import Storage, Windows, hashed
from flask_llm.guards.outage import Outage
from flask_llm.guards.shared import Down
from flask_llm.settings import Quota


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

    :param storage: where calls are counted.
    :param storage_down: what to do while the storage is down: ``local`` counts in this
        process, ``allow``, ``deny``.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        quotas: Sequence[Quota],
        storage: Storage,
        *,
        storage_down: str = "local",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Two that differ in their wording alone would count each call twice.
        alike: dict[tuple[object, ...], Quota] = {}
        for quota in quotas:
            facts = quota.count, quota.every, quota.unit, quota.scope
            alike.setdefault(facts, quota)
        self._quotas = tuple(alike.values())
        self._storage = storage
        self._storage_down = storage_down
        self._clock = clock
        self.forget()
        after_fork(self.forget)

    def check(self, prompt: Question, scopes: Collection[str] | None = None) -> Taken:
        """Count a call against all quotas, or against none where one has no room.

        :param scopes: count only quotas of these; None counts all.
        :raises QuotaExceeded: naming the quota; ``retry_after`` says how long to wait.
        """
        due = [
            Due(quota, quota.scope, hashed(prompt.subject(quota.scope)))
            for quota in self._quotas
            if scopes is None or quota.scope in scopes
        ]
        if not due:
            return Taken()
        began = self._clock()
        if self._outage.is_over():
            try:
                taken = self._take(self._storage.windows(), due)
            except Down as down:
                self._outage.failed(down.__cause__)
            else:
                self._outage.ended(began)
                return taken
        return self._do_without(due)

    def forget(self) -> None:
        """Begin anew, as a forked worker must: a lock may be held."""
        meanwhile = _MEANWHILE[self._storage_down]
        self._outage = Outage("The storage of quotas", meanwhile, clock=self._clock)

    def _take(self, windows: Windows, due: Sequence[Due]) -> Taken:
        for each in due if len(due) > 1 else ():  # one alone is taken or not
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
            return self._take(self._storage.local(), due)
        if self._storage_down == "allow":
            return Taken()
        raise QuotaExceeded(
            "Quotas cannot be counted, since their storage cannot be reached; "
            "LLM_STORAGE_DOWN says what to do then.",
            code="quota_storage_down",
            retry_after=self._outage.seconds_left(),
        )


_MEANWHILE = {
    "local": "each process counts by itself",
    "allow": "all calls are allowed",
    "deny": "all calls are refused",
}

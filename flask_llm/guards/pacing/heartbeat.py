"""Renews the leases of this process while it holds any."""

from __future__ import annotations

import threading
from typing import Protocol


class Leases(Protocol):
    """What is to be renewed from time to time."""

    beat_seconds: float

    @property
    def held(self) -> bool:
        """Whether there are any."""

    def renew(self) -> None:
        """Renew those that there are."""


class Heartbeat:
    """One thread for all lines; begun when it is needed, ends when it is not.

    It is looked at only once a beat whether anything is held. So the thread lasts up to
    a beat longer, and does not come and go with every call.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin without a thread, as a forked worker must."""
        self._changed = threading.Condition()
        self._watched: set[Leases] = set()
        self._beat_seconds = 0.0
        self._thread: threading.Thread | None = None

    def watch(self, leases: Leases) -> None:
        """Renew some leases until there are none."""
        with self._changed:
            if leases not in self._watched:
                self._watched.add(leases)
                if leases.beat_seconds < self._beat_seconds:
                    self._changed.notify()
            if self._thread is None or not self._thread.is_alive():
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._run, name="flask-llm-leases", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending, or there is no thread left
            return
        self._thread = thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._beat_seconds = min(one.beat_seconds for one in self._watched)
                self._changed.wait(self._beat_seconds)
                watched = list(self._watched)
            for leases in watched:
                leases.renew()
            with self._changed:
                self._watched = {one for one in self._watched if one.held}
                if not self._watched:
                    self._thread = None
                    return

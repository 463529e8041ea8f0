"""Who is in the house: requests on record and in flight, counted under one lock."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request as the emulator received it."""

    time: float
    """``time.monotonic()`` at arrival."""
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any
    """The JSON body; ``None`` if it was not JSON."""
    model: str
    stream: bool


class Traffic:
    """Count requests from arrival until their last byte is on its way."""

    def __init__(self, *, keep: int) -> None:
        self._lock = threading.Lock()
        self._arrivals: deque[Arrival] = deque(maxlen=keep)
        self._total = 0
        self._in_flight = 0
        self._max_in_flight = 0
        self._abandoned = 0

    def arrive(self) -> tuple[int, Visit]:
        """Let a request in; returns its number, from 1, and its visit."""
        with self._lock:
            self._total += 1
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)
            return self._total, Visit(self)

    def record(self, arrival: Arrival) -> None:
        """Keep a request on record."""
        with self._lock:
            self._arrivals.append(arrival)

    def leave(self, *, abandoned: bool) -> None:
        """Let a request out."""
        with self._lock:
            self._in_flight -= 1
            self._abandoned += abandoned

    def reset(self) -> None:
        """Forget the record; what is in flight stays so."""
        with self._lock:
            self._arrivals.clear()
            self._total = 0
            self._abandoned = 0
            self._max_in_flight = self._in_flight

    @property
    def arrivals(self) -> list[Arrival]:
        """A copy of the record, oldest first."""
        with self._lock:
            return list(self._arrivals)

    def counts(self) -> dict[str, int]:
        """All counters at one moment."""
        with self._lock:
            return {
                "requests": self._total,
                "in_flight": self._in_flight,
                "max_in_flight": self._max_in_flight,
                "abandoned": self._abandoned,
            }


class Visit:
    """One request's stay; leaving twice counts once."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._lock = threading.Lock()
        self._here = True

    def leave(self, *, abandoned: bool = False) -> None:
        """End the stay.

        :param abandoned: the client left before it had everything.
        """
        with self._lock:
            here, self._here = self._here, False
        if here:
            self._traffic.leave(abandoned=abandoned)

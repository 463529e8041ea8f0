"""Who asks a question in this process, and who waits for its answer."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from flask_llm.chat import Completion
from flask_llm.errors import DeadlineExceeded
from flask_llm.forks import after_fork
from flask_llm.guards.cache.texts import Answer
from flask_llm.retry import Deadline

GRACE_SECONDS = 2.0
"""How long past its deadline a leader may take to hand its answer over."""

LOOK_SECONDS = 1.0
"""How often those who wait look for a leader that is gone without a word."""


class _Here(threading.local):
    """Tells threads apart; their numbers are given again when they have ended."""

    def __init__(self) -> None:
        self.thread = object()


_here = _Here()


class Flight:
    """One question under way.

    :param lock: its table's.
    """

    def __init__(self, key: str, lock: threading.Lock) -> None:
        self.key = key
        self.token = secrets.token_hex(16)
        """Names this process in the lock that all processes share."""
        self.locked = False
        """Whether that lock is ours; whoever leads next goes on with it."""
        self.changed = threading.Condition(lock)
        self.waiting = 0
        self.leader: Seat | None = None
        self.over = False
        self.answer: Answer | None = None


class Seat:
    """The right and the duty to ask a question.

    :param expires: seconds on the table's clock, after which another may take it.
    """

    def __init__(self, flight: Flight, expires: float) -> None:
        self.flight = flight
        self.expires = expires
        self.thread = _here.thread


class Flights:
    """The questions under way in this process; a forked worker begins with none.

    :param clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}
        self._abandoned: deque[Seat] = deque()
        after_fork(self.forget)

    def __len__(self) -> int:
        return len(self._flights)

    def forget(self) -> None:
        """Begin without any, as a forked worker must."""
        self._lock = threading.Lock()
        self._flights = {}
        self._abandoned = deque()

    def join(self, key: str, deadline: Deadline) -> Seat | Answer | None:
        """Wait for the answer of whoever is asking, or for the turn to ask.

        :return: the answer, or a seat where it is this caller's turn, or None where
            everyone asks for himself.
        :raises DeadlineExceeded: where neither comes in time.
        """
        with self._lock:
            self._strike_off()
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = Flight(key, self._lock)
            leader = flight.leader
            if leader and leader.thread is _here.thread and not flight.over:
                return None  # it would wait for itself, as within a stream of its own
            return self._wait(flight, deadline)

    def land(self, seat: Seat, answer: Answer) -> None:
        """Hand an answer out, to those who wait and to those who come until the end."""
        with self._lock:
            seat.flight.answer = seat.flight.answer or answer
            self._let_go(seat.flight)

    def close(self, seat: Seat) -> None:
        """Let those who come from now on ask anew: they find what is kept."""
        with self._lock:
            self._remove(seat.flight)

    def scatter(self, seat: Seat) -> bool:
        """Let all who wait ask for themselves; tell whether the seat was still held."""
        with self._lock:
            held = seat.flight.leader is seat and not seat.flight.over
            if held:
                self._let_go(seat.flight)
                self._remove(seat.flight)
            return held

    def resign(self, seat: Seat) -> bool:
        """Let one of those who wait ask next; tell whether there is none."""
        with self._lock:
            return self._vacate(seat)

    def abandon(self, seat: Seat) -> None:
        """Leave a seat from a finaliser, which must not wait for any lock."""
        self._abandoned.append(seat)

    def outcome(self, flight: Flight) -> Answer | None:
        """Return a caller's own copy of the answer, where there is one.

        Vectors are copied by whoever hands them out.
        """
        answer = flight.answer
        return replace(answer, raw={}) if isinstance(answer, Completion) else answer

    def _wait(self, flight: Flight, deadline: Deadline) -> Seat | Answer | None:
        flight.waiting += 1
        try:
            while not flight.over and not self._is_vacant(flight):
                left = deadline.remaining()
                if left <= 0:
                    raise too_late()
                flight.changed.wait(min(left, LOOK_SECONDS))
                self._strike_off()
            if flight.over:
                return self.outcome(flight)
            expires = self._clock() + deadline.remaining() + GRACE_SECONDS
            flight.leader = Seat(flight, expires)
            return flight.leader
        finally:
            flight.waiting -= 1
            self._tidy(flight)

    def _is_vacant(self, flight: Flight) -> bool:
        return flight.leader is None or flight.leader.expires < self._clock()

    def _strike_off(self) -> None:
        while self._abandoned:
            self._vacate(self._abandoned.popleft())

    def _vacate(self, seat: Seat) -> bool:
        if seat.flight.leader is not seat or seat.flight.over:
            return False
        seat.flight.leader = None
        seat.flight.changed.notify_all()
        return self._tidy(seat.flight)

    def _let_go(self, flight: Flight) -> None:
        flight.over = True
        flight.changed.notify_all()

    def _tidy(self, flight: Flight) -> bool:
        """Remove a flight that nobody leads and nobody waits for."""
        gone = flight.leader is None and not flight.waiting
        if gone:
            self._remove(flight)
        return gone

    def _remove(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]


def too_late() -> DeadlineExceeded:
    """Return the error of a caller whose deadline passed while it waited."""
    error = DeadlineExceeded(
        "The same question is being asked already, and its answer did not come in time."
    )
    error.add_note("Raise timeout, or ask without cache.")
    return error

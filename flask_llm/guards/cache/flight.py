"""Single flight: one caller asks a question, all the others wait for its answer."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator

from flask_llm.guards.cache.local import Flights, Seat, too_late
from flask_llm.guards.cache.remote import Turn, Turns
from flask_llm.guards.cache.texts import Answer, as_kept
from flask_llm.retry import Deadline

POLL_SECONDS = 0.05
POLL_MAX_SECONDS = 0.25
"""How often a process looks whether another one has an answer."""

Read = Callable[[], Answer | None]
Keep = Callable[[Answer, int], None]


class SingleFlight:
    """Lets one caller ask and hands its answer to those who wait.

    Within a process the others sleep until they are woken; of each other process one
    thread looks into Redis.
    """

    def __init__(
        self,
        flights: Flights,
        turns: Turns,
        *,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._flights = flights
        self._turns = turns
        self._jitter = jitter
        self._sleep = sleep

    def ask(
        self, key: str, deadline: Deadline, read: Read, keep: Keep
    ) -> Answer | Lead:
        """Return the answer of whoever is asking, or let this caller ask.

        :param read: looks up what is kept.
        :param keep: keeps an answer for some seconds.
        :raises DeadlineExceeded: where another caller's answer does not come in time.
        """
        found = self._flights.join(key, deadline)
        if not isinstance(found, Seat):
            return found or Lead(keep)
        try:
            return self._lead(found, deadline, read, keep)
        except BaseException:
            self.fail(found)
            raise

    def land(self, seat: Seat, answer: Answer, keep: Callable[[], None]) -> None:
        """Hand an answer out, then keep it and let the other processes look."""
        self._flights.land(seat, answer)
        try:
            keep()
            self._turns.leave(seat.flight, Turn.DONE)
        finally:
            self._flights.close(seat)

    def scatter(self, seat: Seat) -> None:
        """Let all who wait ask for themselves: the answer is none for them."""
        if self._flights.scatter(seat):
            self._turns.leave(seat.flight, Turn.FREE)

    def fail(self, seat: Seat) -> None:
        """Let one of those who wait ask next: in this process, else in another."""
        if self._flights.resign(seat):
            self._turns.leave(seat.flight)

    def abandon(self, seat: Seat) -> None:
        """Leave a seat without waiting for anything; its lock runs out by itself."""
        self._flights.abandon(seat)

    def _lead(
        self, seat: Seat, deadline: Deadline, read: Read, keep: Keep
    ) -> Answer | Lead:
        """Wait until no other process asks; what it has kept by then is the answer."""
        flight, pauses, waited = seat.flight, self._pauses(), False
        while True:
            turn = self._turns.take(flight, deadline.remaining())
            if answer := read():
                self.land(seat, answer, _nothing)
                return answer
            if turn is Turn.FREE and waited:
                self.scatter(seat)
                return Lead(keep)
            if turn is not Turn.TAKEN:
                return Lead(keep, self, seat)
            if flight.over:
                return self._flights.outcome(flight) or Lead(keep)
            left = deadline.remaining()
            if left <= 0:
                raise too_late()
            self._sleep(min(next(pauses), left))
            waited = True

    def _pauses(self) -> Iterator[float]:
        pause = POLL_SECONDS
        while True:
            yield pause * (0.75 + 0.25 * self._jitter())
            pause = min(POLL_MAX_SECONDS, pause * 1.5)


class Lead:
    """The duty to ask a question and to tell those who wait how that ended.

    One that nobody waits for has nobody to tell, but keeps its answer all the same.
    """

    def __init__(
        self,
        keep: Keep,
        single: SingleFlight | None = None,
        seat: Seat | None = None,
    ) -> None:
        self._keep = keep
        self._single = single
        self._seat = seat
        self._process = os.getpid()
        self._finished = threading.Lock()

    def __del__(self) -> None:
        self.abandon()

    def finish(self, completion: Answer | None, seconds: int) -> None:
        """Tell how it ended, from any thread; the second time does nothing.

        An answer that is final goes to all who wait, and is kept. One that is not
        (truncated, refused, asking for tools) lets them all ask for themselves. None
        says that there is no answer: one of them asks next.

        :param seconds: how long the answer may be kept.
        """
        if os.getpid() != self._process or not self._finished.acquire(blocking=False):
            return
        answer = as_kept(completion) if completion else None
        if self._single is None or self._seat is None:
            if completion and answer:
                self._keep(completion, seconds)
        elif completion is None:
            self._single.fail(self._seat)
        elif answer is None:
            self._single.scatter(self._seat)
        else:
            self._single.land(
                self._seat, answer, lambda: self._keep(completion, seconds)
            )

    def abandon(self) -> None:
        """Leave from a finaliser: waits for no lock, asks nobody.

        Whoever waits next in this process takes over; other processes do when the lock
        has run out.
        """
        if self._single and self._seat and not self._finished.locked():
            self._single.abandon(self._seat)


def _nothing() -> None:
    """Keep nothing: it comes from where it would be kept."""

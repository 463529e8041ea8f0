"""Slots at providers: taken, held and given back."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from flask_llm.forks import after_fork
from flask_llm.guards.pacing.headers import Brake, brake, held
from flask_llm.guards.pacing.heartbeat import Heartbeat
from flask_llm.guards.pacing.line import Line
from flask_llm.guards.pacing.queue import Queue, Terms
from flask_llm.guards.pacing.ticket import Ticket
from flask_llm.guards.shared import Shared
from flask_llm.providers import Provider
from flask_llm.retry import Deadline

_heartbeat = Heartbeat()
after_fork(_heartbeat.forget)


class Pacing:
    """Lets callers through one by one, in the order in which they came.

    With Redis, one line for all workers and machines. Without it, or while it is out of
    reach, a line for this process; a forked worker begins with empty ones.

    :param shared: Redis, where there is one.
    :param clock: monotonic seconds.
    :param now: seconds since 1970.
    :param lease_seconds: how long a slot stays taken when its process is killed.
    :param window_seconds: what a minute is in ``requests_per_minute``.
    :param jitter: a number from 0 to 1, by chance.
    """

    def __init__(
        self,
        shared: Shared | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        lease_seconds: float = 15.0,
        window_seconds: float = 60.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._now = now
        self._terms = Terms(
            lease_seconds=lease_seconds, window_seconds=window_seconds, jitter=jitter
        )
        self._process = secrets.token_hex(8)
        self._lines: dict[str, Line] = {}
        after_fork(self.forget)

    @contextmanager
    def slot(
        self, provider: Provider, deadline: Deadline, tokens: int = 0
    ) -> Iterator[Slot]:
        """Hold one of the provider's slots.

        :param tokens: what the call is expected to take of ``tokens_per_minute``.
        :raises DeadlineExceeded: where none comes free in time.
        """
        slot = self.acquire(provider, deadline, tokens)
        try:
            yield slot
        finally:
            slot.release()

    def acquire(self, provider: Provider, deadline: Deadline, tokens: int = 0) -> Slot:
        """Take a slot that is to be given back; for streams, which outlive the call.

        :param tokens: what the call is expected to take of ``tokens_per_minute``.
        :raises DeadlineExceeded: where none comes free in time; at once where that is
            certain, with ``retry_after``.
        """
        line = self._line(provider.name)
        ticket = Ticket(provider, tokens)
        line.enter(ticket, deadline)
        return Slot(line, ticket)

    def heed(self, provider: Provider, headers: Mapping[str, str]) -> None:
        """Slow down as the headers of an answer advise; :mod:`.headers` says how.

        It costs a script in Redis only where there is something to be heeded.

        :param headers: names in lower case.
        """
        self._slow(provider, brake(headers, self._now()))

    def hold(self, provider: Provider, seconds: float) -> None:
        """Let nobody start for some seconds, at most a minute."""
        self._slow(provider, held(seconds))

    def forget(self) -> None:
        """Begin with empty lines, as a forked worker must."""
        for line in self._lines.values():
            line.forgotten = True
        self._lines = {}
        self._process = secrets.token_hex(8)

    def _slow(self, provider: Provider, advice: Brake) -> None:
        if advice:
            self._line(provider.name).slow(advice)

    def _line(self, name: str) -> Line:
        line = self._lines.get(name)
        return line or self._lines.setdefault(name, self._new_line(name))

    def _new_line(self, name: str) -> Line:
        queue = None
        if self._shared:
            queue = Queue(self._shared, name, self._process, self._terms)
        return Line(
            queue,
            _heartbeat,
            window_seconds=self._terms.window_seconds,
            clock=self._clock,
            now=self._now,
        )


class Slot:
    """One of a provider's slots, held."""

    __slots__ = ("_line", "_ticket")

    def __init__(self, line: Line, ticket: Ticket) -> None:
        self._line = line
        self._ticket = ticket

    def release(self, used_tokens: int | None = None) -> None:
        """Give it back; the second time does nothing.

        :param used_tokens: what the call took of ``tokens_per_minute``, in place of
            what was expected; None leaves that.
        """
        self._line.leave(self._ticket, used_tokens)

    def refund(self) -> None:
        """Give it back for a call that was not sent: nothing is counted for it."""
        self._line.refund(self._ticket)

    def abandon(self) -> None:
        """Give it back from a finaliser, which must not wait for any lock."""
        self._line.abandoned.append(self._ticket)
